import assert from 'node:assert/strict';
import { test } from 'vitest';
import { parseTableName, siblingOf } from '../../../src/store/postgres/names.ts';

test('a table name is read as SQL reads it and written so that nothing breaks out', () => {
  const cases: [text: string, sql: string][] = [
    ['events_json', '"events_json"'],
    ['Events', '"events"'],
    ['"Events"', '"Events"'],
    ['analytics.Events', '"analytics"."events"'],
    ['"a.b"."c""d"', '"a.b"."c""d"'],
    ['größe.ereignisse$1', '"größe"."ereignisse$1"'],
    ['"x; DROP TABLE y --"', '"x; DROP TABLE y --"'],
  ];
  for (const [text, sql] of cases) assert.equal(parseTableName(text).sql, sql, text);
  assert.equal(siblingOf(parseTableName('"My Schema".events'), 'cursors').sql, '"My Schema"."cursors"');
  assert.equal(siblingOf(parseTableName('events'), 'cursors').sql, '"cursors"');
});

test('a name that SQL would not take is refused', () => {
  const names = [
    '',
    'a b',
    'a.b.c',
    '1a',
    '"a',
    'a"',
    '""',
    'a.',
    '.a',
    'a;DROP',
    'a--',
    'x'.repeat(64),
    'ü'.repeat(32),
    '"a\0b"',
  ];
  for (const name of names) assert.throws(() => parseTableName(name), /must (read|have)/, name);
});
