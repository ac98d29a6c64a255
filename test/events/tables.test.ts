import assert from 'node:assert/strict';
import { test } from 'vitest';
import { SLACK, viewOf } from '../../src/events/json-text.ts';
import { KeyTable } from '../../src/events/key-table.ts';
import { F, firstObject, firstText } from '../../src/events/line-plan.ts';
import { NameIndex } from '../../src/events/name-index.ts';
import { eventColumns, eventFields, eventModelTable, keysWhere } from '../../src/events/schema.ts';
import { randomOf, seed } from './seed.ts';

test('the schema holds the keys of the event model in their order', () => {
  const keys = eventFields.map((field) => field.key).join(' ');
  assert.equal(keys, 'event_id ts e uid sid url ref ua ip utm geo props device');
  assert.deepEqual([firstText, firstObject], [F.e, F.utm]);
});

test('the columns follow the schema, and only what is in every line is not null', () => {
  const required = eventColumns.filter((column) => column.notNull).map((column) => column.name);
  assert.deepEqual(required, ['event_id', 'ts', 'e']);
  assert.deepEqual(eventColumns[0], { name: 'event_id', type: 'uuid', notNull: true });
});

test('the README table has a row per key', () => {
  const rows = eventModelTable().split('\n');
  assert.equal(rows.length, 2 + eventFields.length);
  assert.ok(rows.every((row) => row.split('|').length === rows[0]!.split('|').length));
  assert.match(rows[2]!, /`event_id` \| uuid \| always \| GET, POST/);
  assert.match(eventModelTable(), /`geo` \| made \| known \| server/);
});

test('a key table finds its keys and nothing that resembles them', () => {
  const keys = keysWhere((field) => field.collect !== 'no');
  const table = new KeyTable(keys);
  const find = (key: string): number => {
    // What follows the key must not matter.
    const bytes = Buffer.from(`<${key}${'"'.repeat(SLACK)}`);
    return table.find(viewOf(bytes), 1, 1 + Buffer.byteLength(key));
  };
  keys.forEach((key, index) => {
    assert.equal(find(key), index);
    for (const other of [
      `${key}x`,
      `x${key}`,
      key.slice(0, -1),
      key.toUpperCase(),
      `${key}\0`,
      `${key.slice(0, -1)}é`,
    ]) {
      if (!(keys as readonly string[]).includes(other)) assert.equal(find(other), -1, other);
    }
  });
  assert.equal(find(''), -1);
});

test(`a name index gives equal names one entry, in order of arrival (seed ${seed})`, () => {
  const random = randomOf(seed);
  const index = new NameIndex();
  for (const count of [1, 5, 64, 65, 3000, 10]) {
    const names = Array.from({ length: count }, () => 'n'.repeat(random(3)) + random(count).toString(36));
    const bytes = Buffer.from(`${names.join('&')}${' '.repeat(SLACK)}`);
    const entries = new Map<string, number>();
    index.reset();
    let at = 0;
    for (const name of names) {
      const expected = entries.get(name) ?? entries.size;
      entries.set(name, expected);
      assert.equal(index.put(viewOf(bytes), at, at + name.length), expected);
      at += name.length + 1;
    }
    assert.equal(index.count, entries.size);
    for (const [name, entry] of entries) assert.equal(bytes.toString('utf8', index.from[entry], index.to[entry]), name);
  }
});
