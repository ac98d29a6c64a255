import assert from 'node:assert/strict';
import { test } from 'vitest';
import { editDistance, nearest } from '../../src/kernel/config/nearest.ts';
import {
  bytes,
  defineConfig,
  envExample,
  helpText,
  integer,
  loadConfig,
  MiB,
  markdownReference,
  oneOf,
  parseEnvFile,
  printConfig,
  referenceIsStale,
  renewReference,
  secret,
  text,
} from '../../src/kernel/config.ts';

const room = defineConfig('room', {
  ringBytes: bytes({ default: 16 * MiB, min: 1, doc: 'Data bytes of a ring | of each lane.' }),
  acceptors: integer({ min: 1, aliases: ['WORKER_CONCURRENCY'], unset: 'cores - 1', doc: 'Threads.' }),
  pgDsn: secret({ doc: 'Where Postgres is.', unset: 'no Postgres' }),
  ack: oneOf(['memory', 'journal'], { default: 'journal', doc: 'When a 2xx is sent.' }),
  greeting: text({ default: 'say "hi" to $you; now', doc: 'A text that needs quotes.' }),
});

test('the reference has a row per option with names, default, limits and text', () => {
  assert.deepEqual(markdownReference([room]).split('\n'), [
    '### room',
    '',
    '| Option | In a YAML file | Default | Must be | Meaning |',
    '|---|---|---|---|---|',
    '| `RING_BYTES` | `room.ring_bytes` | `16MiB` | a size, at least 1B | Data bytes of a ring \\| of each lane. |',
    '| `ACCEPTORS`<br>also `WORKER_CONCURRENCY` | `room.acceptors` | cores - 1 | a whole number, at least 1 | Threads. |',
    '| `PG_DSN`<br>also `PG_DSN_FILE` | `room.pg_dsn` | no Postgres | a string | Where Postgres is. |',
    '| `ACK` | `room.ack` | `journal` | one of memory, journal | When a 2xx is sent. |',
    '| `GREETING` | `room.greeting` | `say "hi" to $you; now` | a string | A text that needs quotes. |',
  ]);
});

test('a document is stale until it is renewed, and nothing outside of the markers changes', () => {
  const before = `# Title\n\n<!-- config:begin -->\nold\n<!-- config:end -->\n\nMore text.\n`;
  assert.ok(referenceIsStale(before, [room]));
  const after = renewReference(before, [room]);
  assert.ok(!referenceIsStale(after, [room]));
  assert.ok(after.startsWith(`# Title\n\n<!-- config:begin -->\n### room`));
  assert.ok(after.endsWith(`<!-- config:end -->\n\nMore text.\n`));
  assert.throws(() => renewReference('no markers', [room]), TypeError);
  assert.throws(() => renewReference(before + before, [room]), TypeError, 'which of two would be renewed?');
});

test('the example env file, uncommented, is well-formed and gives the defaults', () => {
  const example = envExample([room]);
  const { entries, problems } = parseEnvFile(example.replace(/^#([A-Z_]+=)/gm, '$1'));
  assert.deepEqual(problems, []);
  const env = Object.fromEntries([...entries].map(([name, { value }]) => [name, value]));
  assert.deepEqual(Object.keys(env), ['RING_BYTES', 'ACCEPTORS', 'PG_DSN', 'ACK', 'GREETING']);
  assert.deepEqual(loadConfig([room], { env }).values, loadConfig([room], { env: {} }).values);
  assert.equal(parseEnvFile(example).entries.size, 0, 'an option stands uncommented');
});

test('--help names every flag with its default, and no line is too wide', () => {
  const help = helpText([room]);
  for (const flag of ['--ring-bytes', '--acceptors', '--pg-dsn', '--ack', '--greeting'])
    assert.ok(help.includes(flag), flag);
  assert.match(help, /Default: 16MiB\./);
  for (const line of help.split('\n')) assert.ok(line.length <= 100, line);
});

test('--print-config masks secrets, says where a value comes from, and is an env file that gives the same values', () => {
  const env = { PG_DSN: 'postgres://u:hunter2@h/db', RING_BYTES: '1m', GREETING: 'a "b" # c' };
  const loaded = loadConfig([room], { env, argv: ['--ack=memory'] });
  const printed = printConfig([room], loaded);
  assert.doesNotMatch(printed, /hunter2/);
  assert.deepEqual(printed.split('\n'), [
    'RING_BYTES=1MiB  # environment',
    '#ACCEPTORS=  # default',
    'PG_DSN="***"  # environment',
    'ACK=memory  # flag --ack',
    'GREETING="a \\"b\\" # c"  # environment',
    '',
  ]);
  const again = Object.fromEntries([...parseEnvFile(printed).entries].map(([name, { value }]) => [name, value]));
  assert.deepEqual(loadConfig([room], { env: { ...again, PG_DSN: env.PG_DSN } }).values, loaded.values);
});

test('the distance counts insertions, deletions, replacements and swaps', () => {
  const cases = [
    ['', '', 0],
    ['abc', '', 3],
    ['KAFKA_BROKER', 'KAFKA_BROKERS', 1],
    ['chekc', 'check', 1],
    ['kitten', 'sitting', 3],
  ] as const;
  for (const [a, b, distance] of cases) {
    assert.equal(editDistance(a, b), distance);
    assert.equal(editDistance(b, a), distance);
  }
  assert.equal(nearest('RING_BITES', ['RING_BYTES', 'RING_SITES']), 'RING_BYTES');
  assert.equal(nearest('XYZ', ['RING_BYTES']), undefined);
});
