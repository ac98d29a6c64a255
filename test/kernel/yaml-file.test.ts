import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  bool,
  bytes,
  defineConfig,
  duration,
  helpText,
  integer,
  type LoadOptions,
  list,
  loadConfig,
  MiB,
  markdownReference,
  parseEnvFile,
  printConfig,
  Refused,
  secret,
  structure,
  text,
} from '../../src/kernel/config.ts';
import type { RingmainError } from '../../src/kernel/errors.ts';

interface Backend {
  readonly url: string;
  readonly weight: number;
}

function backendsOf(value: unknown): readonly Backend[] {
  if (!Array.isArray(value)) throw new Refused('the whole must be a list');
  return value.map((item: Partial<Backend>, index) => {
    if (typeof item?.url !== 'string') throw new Refused(`[${index}].url must be a string`, [index, 'url']);
    const weight = item.weight ?? 1;
    if (!Number.isInteger(weight)) {
      throw new Refused(`[${index}].weight must be a whole number: found=${JSON.stringify(weight)}`, [index, 'weight']);
    }
    return { url: item.url, weight };
  });
}

const doc = 'x';
const backendsMust = 'a list of {url, weight}';
const server = defineConfig('server', {
  serverAddr: text({ default: ':1', doc }),
  ackTimeoutMs: duration({ default: 5000, doc }),
  ringBytes: bytes({ default: MiB, min: 1024, doc }),
  cookies: bool({ default: true, doc }),
  acceptors: integer({ min: 1, max: 64, doc }),
  labels: list({ default: [], doc }),
  backends: structure({ must: backendsMust, parse: backendsOf, default: [], doc }),
});
const kafka = defineConfig('kafka', {
  kafkaBrokers: list({ default: ['a:1'], doc }),
  kafkaTopic: text({ default: 'events', doc }),
  kafkaSaslPassword: secret({ doc }),
  logRotate: bytes({ default: 0, env: 'LOG_ROTATE_MB', yaml: 'kafka.log.rotate_mb', doc }),
  operators: structure({ must: 'a mapping', parse: (value) => value as object, secret: true, doc }),
});
const sets = [server, kafka] as const;

const folder = mkdtempSync(join(tmpdir(), 'ringmain-yaml-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
function inFile(content: string | Buffer): string {
  const path = join(folder, `${files++}.yaml`);
  writeFileSync(path, content);
  return path;
}

function load(content: string, options: LoadOptions = {}) {
  return loadConfig(sets, { env: {}, configFile: inFile(content), ...options });
}

/** The problems that a start would show, without the file's path. */
function problems(content: string | Buffer, options: LoadOptions = {}): readonly string[] {
  const configFile = inFile(content);
  try {
    loadConfig(sets, { env: {}, configFile, ...options });
    return [];
  } catch (error) {
    const found = (error as RingmainError).message.split('\n');
    for (const line of found) assert.doesNotMatch(line, /\n/, 'a problem is one line');
    return found.map((line) => line.replace(configFile, 'x.yaml'));
  }
}

test('every option has a path: the section, then its name without what the section says', () => {
  const { values, sources } = load(`
# a comment
server:
  addr: :8080
  ack_timeout_ms: 25
  ring_bytes: 64KiB
  cookies: off
  acceptors: 3
  labels: [a, "b", 7]
  backends:
    - { url: http://a, weight: 2 }
    - url: http://b
kafka:
  brokers: b:1,c:2
  topic: |-
    many words
  sasl_password: 007
  log:
    rotate_mb: 100
  operators: { a: { rate: 1.5, on: true } }
`);
  expect(values).toEqual({
    server: {
      serverAddr: ':8080',
      ackTimeoutMs: 25,
      ringBytes: 65_536,
      cookies: false,
      acceptors: 3,
      labels: ['a', 'b', '7'],
      backends: [
        { url: 'http://a', weight: 2 },
        { url: 'http://b', weight: 1 },
      ],
    },
    kafka: {
      kafkaBrokers: ['b:1', 'c:2'],
      kafkaTopic: 'many words',
      kafkaSaslPassword: '007',
      logRotate: 100 * MiB,
      operators: { a: { rate: 1.5, on: true } },
    },
  });
  expect(sources.get('ACK_TIMEOUT_MS')).toMatch(/yaml:5:19$/);
  expect(structuredClone(values)).toEqual(values);
});

test('flags beat the environment, that beats the env file, that beats the YAML file, that beats the default', () => {
  const configFile = inFile('server:\n  ring_bytes: 2k\n  acceptors: 2\n  addr: y\n  ack_timeout_ms: 2s\n');
  const envFile = join(folder, 'env');
  writeFileSync(envFile, 'RING_BYTES=3k\nACCEPTORS=3\nSERVER_ADDR=e\n');
  const env = { RING_BYTES: '4k', ACCEPTORS: '4' };
  const argv = ['--ring-bytes=5k', '--env-file', envFile, `--config=${configFile}`];
  const loaded = loadConfig(sets, { env, argv });
  const { ringBytes, acceptors, serverAddr, ackTimeoutMs, cookies } = loaded.values.server;
  expect([ringBytes, acceptors, serverAddr, ackTimeoutMs, cookies]).toEqual([5120, 4, 'e', 2000, true]);
  expect(Object.fromEntries(loaded.sources)).toEqual({
    RING_BYTES: 'flag --ring-bytes',
    ACCEPTORS: 'environment',
    SERVER_ADDR: `${envFile}:3`,
    ACK_TIMEOUT_MS: `${configFile}:5:19`,
  });
  expect(printConfig(sets, loaded)).toContain(`ACK_TIMEOUT_MS=2s  # ${configFile}:5:19\n`);
});

test('the file of --config beats the one that the program names, and two are refused', () => {
  const argv = [`--config=${inFile('server: {acceptors: 9}')}`];
  expect(load('server: {acceptors: 2}', { argv }).values.server.acceptors).toBe(9);
  expect(problems('', { argv: ['--config=a', '--config=b'] })[0]).toBe('--config is given more than once');
  expect(problems('', { argv: ['--confg=a'] })).toEqual(['--confg is not a flag: did you mean --config?']);
});

const refused: readonly (readonly [string, readonly string[]])[] = [
  ['kafka: {broker: a}', ['x.yaml:1:9: kafka.broker is not an option: did you mean kafka.brokers?']],
  ['\n  kafak:\n    broker: a', ['x.yaml:2:3: kafak is not an option: did you mean kafka?']],
  ['KAFKA_BROKERS: a', ['x.yaml:1:1: KAFKA_BROKERS is not an option: did you mean kafka.brokers?']],
  ['kafka-brokers: a', ['x.yaml:1:1: kafka-brokers is not an option: did you mean kafka.brokers?']],
  ['kafka: {log: {rotate: 1}}', ['x.yaml:1:15: kafka.log.rotate is not an option: did you mean kafka.log.rotate_mb?']],
  ['quetzalcoatl: 1', ['x.yaml:1:1: quetzalcoatl is not an option']],
  ['__proto__: {a: 1}', ['x.yaml:1:1: __proto__ is not an option']],
  ['<<: {server: {acceptors: 1}}', ['x.yaml:1:1: << is not an option']],
  ['kafka: [a]', ['x.yaml:1:8: kafka must be a section of options: found a list']],
  ['kafka: {log: 5}', ['x.yaml:1:14: kafka.log must be a section of options: found a single value']],
  ['- kafka', ['x.yaml:1:1: the file must consist of sections of options: found a list']],
  ['server', ['x.yaml:1:1: the file must consist of sections of options: found a single value']],
  ['server: {acceptors: [1]}', ['server.acceptors must be a whole number from 1 to 64: found=a list (x.yaml:1:21)']],
  [
    'server:\n  cookies: {a: 1}',
    ['server.cookies must be true or false (also 1/0, on/off, yes/no): found=a mapping (x.yaml:2:12)'],
  ],
  [
    'server:\n  acceptors: 65\n  cookies: 2\n',
    [
      'server.cookies must be true or false (also 1/0, on/off, yes/no): found="2" (x.yaml:3:12)',
      'server.acceptors must be a whole number from 1 to 64: found="65" (x.yaml:2:14)',
    ],
  ],
  ['server: {acceptors: 0x10}', ['server.acceptors must be a whole number from 1 to 64: found="0x10" (x.yaml:1:21)']],
  [
    'kafka: {brokers: [[a]]}',
    ['kafka.brokers must be a comma-separated list of non-empty items: found="[[\\"a\\"]]" (x.yaml:1:18)'],
  ],
  [
    'kafka: {brokers: ["a,b"]}',
    ['kafka.brokers must be a comma-separated list of non-empty items: found="[\\"a,b\\"]" (x.yaml:1:18)'],
  ],
  [
    'kafka: {brokers: []}',
    ['kafka.brokers must be a comma-separated list of non-empty items: the list is empty (x.yaml:1:18)'],
  ],
  ['server: {acceptors: 1, acceptors: 2}', ['x.yaml:1:24: duplicate key']],
  ['server: {}\nserver: {}', ['x.yaml:2:1: duplicate key']],
  ['server: {backends: [{url: a, url: b}]}', ['x.yaml:1:30: duplicate key']],
  [
    'a: &x 1\nb: *x',
    [
      'x.yaml:1:7: an anchor is not supported: no alias may refer to it',
      'x.yaml:2:4: an alias is not supported: write the value out',
    ],
  ],
  ['server: {acceptors: !!int 3}', ['x.yaml:1:27: a tag is not supported: every option knows its type']],
  ['server: {}\n---\nkafka: {}', ['x.yaml:2:1: the file must contain a single document']],
  ['server:\n\tacceptors: 1', ['x.yaml:2:1: Tabs are not allowed as indentation']],
  ['server: [a', ['x.yaml:1:11: Flow sequence in block collection must be sufficiently indented and end with a ]']],
  [
    'server:\n  backends:\n    - url: a\n      weight: 1.5\n',
    [`server.backends must be ${backendsMust}: [0].weight must be a whole number: found=1.5 (x.yaml:4:15)`],
  ],
  [
    'server:\n  backends:\n    - weight: 1\n',
    [`server.backends must be ${backendsMust}: [0].url must be a string (x.yaml:3:7)`],
  ],
  ['server: {backends: {}}', [`server.backends must be ${backendsMust}: the whole must be a list (x.yaml:1:20)`]],
  ['server: {backends: "[{"}', [`server.backends must be ${backendsMust}: not valid JSON (x.yaml:1:20)`]],
];
for (const [content, lines] of refused) {
  test(`${JSON.stringify(content)} is refused with file, line and column`, () => {
    expect(problems(content)).toEqual(lines);
  });
}

test('what is empty is not set: a key, a section, a file', () => {
  for (const content of ['', '# nothing\n', 'server:\n', 'server: {acceptors: , addr: ""}', 'server: {labels: []}']) {
    expect(load(content).values).toEqual(loadConfig(sets, { env: {} }).values);
  }
});

test('a byte order mark, CRLF and JSON are taken', () => {
  expect(load('\uFEFFserver:\r\n  acceptors: 2\r\n  addr: a\r\n').values.server.serverAddr).toBe('a');
  expect(load('{"server": {"acceptors": 2}}').values.server.acceptors).toBe(2);
});

test('sections of other commands are known, and left out', () => {
  const configFile = inFile('server: {acceptors: 2}\nkafka: {topic: x}');
  const { values } = loadConfig([server], { env: {}, configFile, others: [kafka] });
  expect(values.server.acceptors).toBe(2);
  expect(Object.keys(values)).toEqual(['server']);
});

test('a secret may come from a file, and no message shows one', () => {
  const file = join(folder, 'password');
  writeFileSync(file, 'hunter2\n');
  const loaded = load(`kafka: {sasl_password_file: ${file}}`);
  expect(loaded.values.kafka.kafkaSaslPassword).toBe('hunter2');
  expect(loaded.sources.get('KAFKA_SASL_PASSWORD')).toMatch(/yaml:1:29, kafka\.sasl_password_file$/);
  expect(problems(`kafka: {sasl_password: x, sasl_password_file: ${file}}`)[0]).toMatch(
    /^kafka\.sasl_password and kafka\.sasl_password_file must not differ/,
  );
  expect(problems('kafka: {sasl_password_file: [a]}')).toEqual([
    'kafka.sasl_password_file must be a path: found=a list (x.yaml:1:29)',
  ]);
  for (const wrong of [
    '[hunter2]',
    '{a: hunter2}',
    '"hunter2\0"',
    '"hunter2',
    '*hunter2',
    '!hunter2 a',
    '&hunter2 a',
    '@hunter2',
    '"\\hunter2"',
    '"\\xhunter2"',
    'hunter2: hunter2',
    '[hunter2',
    'a\n  hunter2',
    '|hunter2',
    '}hunter2',
    '%hunter2',
  ]) {
    const found = problems(`kafka:\n  sasl_password: ${wrong}\n`);
    expect(found.length, wrong).toBeGreaterThan(0);
    expect(found.join('\n')).not.toMatch(/hunter2/);
  }
  expect(problems('%hunter2').join()).not.toMatch(/hunter2/);
  const strict = defineConfig('gate', {
    keys: structure({
      must: 'a list',
      secret: true,
      doc,
      parse: () => {
        throw new Refused('found=hunter2');
      },
    }),
  });
  expect(() => loadConfig([strict], { env: {}, configFile: inFile('gate: {keys: [hunter2]}') })).toThrow(
    /^gate\.keys must be a list: found="\*\*\*" /,
  );
});

test('a structure is JSON in a variable and in a flag, and is printed as such', () => {
  const env = { BACKENDS: '[{"url":"http://a"}]' };
  const loaded = load('server: {backends: [{url: http://y}]}\nkafka: {operators: {a: hunter2}}', { env });
  expect(loaded.values.server.backends).toEqual([{ url: 'http://a', weight: 1 }]);
  const printed = printConfig(sets, loaded);
  expect(printed).toContain('OPERATORS="***"  # ');
  const again = parseEnvFile(printed).entries.get('BACKENDS')!.value;
  expect(load('', { argv: ['--backends', again] }).values.server).toEqual(loaded.values.server);
  expect(problems('', { argv: ['--backends=[{"url":1}]'] })).toEqual([
    `--backends must be ${backendsMust}: [0].url must be a string`,
  ]);
});

test('a file that cannot be read, is a folder, too large or without an end is a problem', () => {
  const at = (configFile: string) => problems('', { configFile })[0];
  expect(at('/no/such/file')).toBe('--config must name a readable file: path=/no/such/file, found=ENOENT');
  expect(at('/')).toBe('--config must name a readable file: path=/, found=EISDIR');
  expect(at('/dev/zero')).toBe('--config must name a file of at most 1MiB: path=/dev/zero is larger');
  expect(problems(Buffer.alloc(MiB, '#'))).toEqual([]);
  expect(problems(Buffer.alloc(MiB + 1, '#'))).toEqual([
    'x.yaml must name a file of at most 1MiB: path=x.yaml is larger'.replace('x.yaml', '--config'),
  ]);
});

// Goal: no file of the allowed size exhausts the stack or takes the process down. Method: towers of each kind of collection.
for (const brick of ['[', '{a: ', '- ', '? ', 'a:\n', '[{a: ']) {
  test(`a tower of ${JSON.stringify(brick)} is refused before it is built`, () => {
    const tower =
      brick === 'a:\n'
        ? Array.from({ length: 1000 }, (_, i) => `${' '.repeat(i)}a:\n`).join('')
        : brick.repeat(MiB / brick.length);
    expect(problems(tower)).toEqual(['x.yaml: a value must be at most 32 levels deep']);
  });
}

test('a value of the depth that is allowed is read', () => {
  const deep = 28;
  const { values } = load(`kafka: {operators: ${'{a: '.repeat(deep)}1${'}'.repeat(deep)}}`);
  expect(JSON.stringify(values.kafka.operators)).toBe(`${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}`);
});

test('paths may not clash, and a declared path obeys the rules of its kind', () => {
  const option = (yaml: string) => text({ doc, yaml });
  expect(() => defineConfig('a', { b: option('A') })).toThrow(/is not a path/);
  expect(() => defineConfig('a', { b: option('a.B') })).toThrow(/is not a path/);
  expect(() => defineConfig('a', { b: option('a..b') })).toThrow(/is not a path/);
  expect(() => defineConfig('a', { waitMs: duration({ doc, yaml: 'a.wait' }) })).toThrow(/must end with the unit/);
  expect(() => defineConfig('a', { config: text({ doc }) })).toThrow(/--config names a file of options/);
  const one = defineConfig('one', { b: option('x.y') });
  expect(() => loadConfig([one, defineConfig('two', { c: option('x.y') })], { env: {} })).toThrow(
    /x\.y is declared twice/,
  );
  expect(() => loadConfig([one, defineConfig('two', { c: option('x.y.z') })], { env: {} })).toThrow(
    /x\.y is an option and a section/,
  );
});

test('the reference and --help show the path of every option, and --help names --config', () => {
  expect(markdownReference(sets)).toContain('| `KAFKA_TOPIC` | `kafka.topic` | `events` |');
  const help = helpText(sets);
  expect(help).toContain('--config=FILE');
  expect(help).toContain('--kafka-topic  (KAFKA_TOPIC; kafka.topic)');
});

// Goal: the collector itself takes the file. Method: the command line of the built program, read from the source.
test('ringmain pixel --config=FILE --print-config says what the file sets and where', () => {
  const configFile = inFile('http:\n  server_addr: 127.0.0.1:8099\nfile: {rotate_mb: 5}\npostgres: {batch_size: 7}\n');
  const env = { PATH: process.env['PATH'] };
  const run = (...words: string[]) =>
    execFileSync(process.execPath, ['src/main.ts', 'pixel', `--config=${configFile}`, ...words], {
      env,
      encoding: 'utf8',
    });
  const printed = run('--print-config').split('\n');
  expect(printed).toContain(`SERVER_ADDR=127.0.0.1:8099  # ${configFile}:2:16`);
  expect(printed).toContain(`LOG_ROTATE_MB=5MiB  # ${configFile}:3:19`);
  expect(printed).toContain(`PG_BATCH_SIZE=7  # ${configFile}:4:24`);
  expect(run('--check-config')).toContain('the configuration is valid');
});
