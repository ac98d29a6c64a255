/** The rooms and who may import whom: the source keeps the table, and the test sees it when it does not. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'vitest';
import { libraries, loadedWith, readSources, readsWallClock, rooms, violations, wallClock } from './architecture.ts';

test('the source keeps the room table, the places of libraries and the places of process.env and Atomics.wait', () => {
  assert.deepEqual(violations(readSources()), []);
});

test('every library of the table is a dependency, and every dependency has its place', () => {
  const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: Record<string, string> };
  assert.deepEqual(Object.keys(libraries).sort(), Object.keys(dependencies).sort());
});

test('every file of the table of wall clocks still reads one', () => {
  const sources = readSources();
  const idle = Object.keys(wallClock).filter((file) => !readsWallClock(sources.get(file) ?? ''));
  assert.deepEqual(idle, []);
});

// Every thread loads the module of its service: a library there costs each start its time a dozen times.
test('the module of a service brings no library along but the small one of its serializers', () => {
  const sources = readSources();
  for (const name of ['pixel', 'analytics', 'gateway', 'sms']) {
    const loaded = loadedWith(`src/${name}/${name}.ts`, sources);
    assert.deepEqual(
      loaded.filter((library) => !library.startsWith('fast-json-stringify')),
      [],
      name,
    );
  }
  assert.ok(loadedWith('src/visitor/examine.ts', sources).includes('maxmind'));
});

test('the room table knows no circle', () => {
  const above = (room: string, seen: readonly string[]): void => {
    assert.ok(!seen.includes(room), `circle: ${[...seen, room].join(' > ')}`);
    for (const below of rooms[room]!) above(below, [...seen, room]);
  };
  for (const room of Object.keys(rooms)) above(room, []);
});

// Goal: the reader of imports is not blind. Method: one planted sin per rule, in each spelling of an import.
const sins: readonly (readonly [string, Record<string, string>, RegExp])[] = [
  [
    'kernel imports a room',
    { 'src/kernel/a.ts': "import { x } from '../engine/x.ts';" },
    /kernel must not import engine/,
  ],
  [
    'the import runs over lines',
    { 'src/http/a.ts': "import {\n  x,\n  y,\n} from '../engine/x.ts';" },
    /http must not/,
  ],
  ['it is a type', { 'src/engine/a.ts': "import type { X } from '../events/x.ts';" }, /engine must not import events/],
  ['it is an export', { 'src/store/a.ts': "export * from '../sinks/x.ts';" }, /store must not import sinks/],
  ['it is dynamic', { 'src/engine/a.ts': "const x = await import('../sinks/x.ts');" }, /engine must not import sinks/],
  ['it is for its effects', { 'src/events/a.ts': "import '../http/x.ts';" }, /events must not import http/],
  [
    'it is a worker',
    { 'src/engine/a.ts': "new Worker(new URL('../pixel/x.ts', import.meta.url));" },
    /must not import pixel/,
  ],
  ['a service imports another', { 'src/pixel/a.ts': "import { x } from '../sms/x.ts';" }, /pixel must not import sms/],
  ['main.ts is imported', { 'src/pixel/a.ts': "import { x } from '../main.ts';" }, /nothing imports main\.ts/],
  ['a room is new', { 'src/misc/a.ts': '' }, /misc is not in the room table/],
  [
    'a sink knows another',
    { 'src/sinks/file/a.ts': "import { x } from '../kafka/x.ts';" },
    /file must not import sink kafka/,
  ],
  ['a library is elsewhere', { 'src/engine/a.ts': "import x from 'pino';" }, /library pino belongs into kernel/],
  [
    'a library is part of a scope',
    { 'src/http/a.ts': "import x from '@platformatic/kafka/dist/x.js';" },
    /belongs into store\/kafka, sinks\/kafka/,
  ],
  ['a library is unknown', { 'src/engine/a.ts': "import x from 'lodash';" }, /library lodash is not in the table/],
  [
    'the addon is elsewhere',
    { 'src/engine/a.ts': "import uws from 'uWebSockets.js';" },
    /uWebSockets\.js belongs into http/,
  ],
  ['process.env is read', { 'src/http/a.ts': 'const port = process.env.PORT;' }, /process\.env belongs into/],
  ['process.env is taken apart', { 'src/http/a.ts': 'const { env } = process;' }, /process\.env belongs into/],
  ['a wait goes by the wall clock', { 'src/http/a.ts': 'const until = Date.now() + 1000;' }, /reads the wall clock/],
  ['an age is that of a file', { 'src/engine/a.ts': 'const { mtimeMs } = statSync(path);' }, /reads the wall clock/],
  [
    'the wall clock comes by its other name',
    { 'src/http/a.ts': "import { now } from '../kernel/clock.ts';" },
    /reads the wall clock/,
  ],
  ['the wall clock is injected', { 'src/http/a.ts': 'const due = this.#clock.now() + 5;' }, /reads the wall clock/],
  ['a date is made of now', { 'src/http/a.ts': 'const today = new Date();' }, /reads the wall clock/],
  ['a thread is stopped', { 'src/http/a.ts': 'Atomics.wait(words, 0, 0);' }, /Atomics\.wait belongs into/],
  [
    'files import each other',
    { 'src/kernel/a.ts': "import { b } from './b.ts';", 'src/kernel/b.ts': "import { a } from './a.ts';" },
    /circle: src\/kernel\/a\.ts > src\/kernel\/b\.ts > src\/kernel\/a\.ts/,
  ],
];
for (const [name, files, expected] of sins) {
  test(`it is seen when ${name}`, () => {
    const found = violations(new Map(Object.entries(files)));
    assert.ok(found.length === 1 && expected.test(found[0]!), found.join('\n') || 'nothing was seen');
  });
}

test('what is allowed is not complained about', () => {
  const files = {
    'src/main.ts': "import { x } from './pixel/x.ts';\nimport { y } from './kernel/y.ts';",
    'src/pixel/x.ts': "/** Reads\n * import { x } from '../sms/x.ts'\n */\nimport { y } from '../engine/y.ts';",
    'src/engine/y.ts':
      "// not process.env, Date.now()\nimport fs from 'node:fs';\nconst at = new Date(ms); clock.elapsed();\nAtomics.waitAsync(words, 0, 0);",
    'src/sinks/file/a.ts': "import { x } from '../runner.ts';",
    'src/sinks/index.ts': "import { x } from './file/a.ts';",
    'src/kernel/a.ts': "import type { b } from './b.ts';",
    'src/kernel/b.ts': "import { a } from './a.ts';",
  };
  assert.deepEqual(violations(new Map(Object.entries(files))), []);
});
