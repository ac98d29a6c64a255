import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import {
  bool,
  bytes,
  type ConfigOf,
  defineConfig,
  duration,
  GiB,
  helpText,
  integer,
  KiB,
  type LoadOptions,
  list,
  loadConfig,
  MiB,
  markdownReference,
  number,
  oneOf,
  path,
  printConfig,
  secret,
  setEnvironment,
  text,
  withAliases,
  withDefaults,
  withoutOptions,
} from '../../src/kernel/config.ts';
import { RingmainError } from '../../src/kernel/errors.ts';

const engine = defineConfig(
  'engine',
  {
    ringBytes: bytes({ default: 16 * MiB, min: 64 * KiB, max: GiB, powerOfTwo: true, doc: 'Ring.' }),
    syncIntervalMs: duration({ default: 10, min: 0, max: 60_000, doc: 'Sync.' }),
    acceptors: integer({ min: 1, max: 64, aliases: ['WORKER_CONCURRENCY'], unset: 'cores - 1', doc: 'Threads.' }),
    ack: oneOf(['memory', 'journal', 'sync'], { default: 'journal', doc: 'Ack.' }),
    journalDir: path({ default: './data/journal', doc: 'Journal.' }),
  },
  {
    check: ({ ack, journalDir }) =>
      journalDir === 'off' && ack !== 'memory' ? [`ACK must be memory without a journal: found=${ack}`] : [],
  },
);
const sinks = defineConfig('sinks', {
  outputs: list({ default: ['log'], of: ['log', 'kafka', 'postgres'], doc: 'Outputs.' }),
  kafkaBrokers: list({ must: 'host:port', test: (item) => /^[^:]+:\d+$/.test(item), doc: 'Brokers.' }),
  pgDsn: secret({ doc: 'Postgres.' }),
  sampleRatio: number({ default: 0.5, min: 0, max: 1, doc: 'Share.' }),
  dntRespect: bool({ default: true, doc: 'Do not track.' }),
  rotateBytes: bytes({ default: 100 * MiB, env: 'LOG_ROTATE_MB', doc: 'Rotation.' }),
  maxAgeMs: duration({ default: 86_400_000, env: 'LOG_MAX_AGE_DAYS', doc: 'Age.' }),
  logName: text({ default: 'events', lengthMax: 8, doc: 'Name.' }),
});
const all = [engine, sinks] as const;

function load(options: LoadOptions = {}) {
  return loadConfig(all, { env: {}, ...options });
}

/** The problems that a start would show. */
function problems(options: LoadOptions): readonly string[] {
  try {
    load(options);
    return [];
  } catch (error) {
    assert.ok(error instanceof RingmainError, String(error));
    if (error.code === 'USAGE') {
      assert.equal(error.exit, 64);
      return error.message.split('\n');
    }
    assert.ok(error.code === 'CONFIG' && error.exit === 78, String(error));
    const lines = error.fields['problems'] as string[];
    assert.equal(error.message, lines.join('\n'));
    for (const line of lines) assert.doesNotMatch(line, /\n/, 'a problem is one line');
    return lines;
  }
}

function inFile(content: string, t: { onTestFinished(done: () => unknown): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-config-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'env'), content);
  return join(folder, 'env');
}

test('with nothing given every option has its default, and the values are plain data', () => {
  const { values, warnings, sources } = load();
  assert.deepEqual(values.engine, {
    ringBytes: 16_777_216,
    syncIntervalMs: 10,
    acceptors: undefined,
    ack: 'journal',
    journalDir: './data/journal',
  } satisfies ConfigOf<typeof engine>);
  assert.deepEqual(values.sinks.outputs, ['log']);
  assert.deepEqual([warnings, sources.size], [[], 0]);
  assert.deepEqual(structuredClone(values), values);
});

test('a value given as default has a type without undefined, one without may be undefined', () => {
  const { values } = load();
  const ring: number = values.engine.ringBytes;
  const ack: 'memory' | 'journal' | 'sync' = values.engine.ack;
  // @ts-expect-error: nobody may have set it.
  const acceptors: number = values.engine.acceptors;
  assert.deepEqual([ring, ack, acceptors], [16_777_216, 'journal', undefined]);
});

test('flags beat the environment, that beats the env file, that beats the default', (t) => {
  const envFile = inFile('RING_BYTES=128KiB\nACK=sync\nACCEPTORS=2\n', t);
  const env = { RING_BYTES: '256KiB', ACK: 'memory' };
  const { values, sources } = load({ env, envFile, argv: ['--ring-bytes=512KiB'] });
  assert.equal(values.engine.ringBytes, 512 * KiB);
  assert.equal(values.engine.ack, 'memory');
  assert.equal(values.engine.acceptors, 2);
  assert.deepEqual(Object.fromEntries(sources), {
    RING_BYTES: 'flag --ring-bytes',
    ACK: 'environment',
    ACCEPTORS: `${envFile}:3`,
  });
});

test('a flag may be spelled like the option or like a flag, with = or a space', () => {
  for (const argv of [['--ring-bytes=1m'], ['--ring-bytes', '1m'], ['--RING_BYTES=1m'], ['--RING_BYTES', '1m']]) {
    assert.equal(load({ argv }).values.engine.ringBytes, MiB, argv.join(' '));
  }
  assert.equal(load({ argv: ['--worker-concurrency', '3'] }).values.engine.acceptors, 3);
});

test('a bool flag alone is true and takes the next word only when that is a bool', () => {
  const at = (argv: string[]) => {
    const { values, words } = load({ env: { DNT_RESPECT: 'no' }, argv });
    return [values.sinks.dntRespect, ...words];
  };
  assert.deepEqual(at(['--dnt-respect']), [true]);
  assert.deepEqual(at(['--dnt-respect', 'off', 'cat']), [false, 'cat']);
  assert.deepEqual(at(['--dnt-respect', 'cat']), [true, 'cat']);
  assert.deepEqual(at(['--dnt-respect=0']), [false]);
});

test('words that belong to no flag and switches come back, and -- ends the flags', () => {
  const options = {
    env: {},
    argv: ['ls', '--check-config', '--', '--ack', 'x'],
    switches: ['check-config', 'help'] as const,
  };
  const { words, switches } = loadConfig(all, options);
  assert.deepEqual(words, ['ls', '--ack', 'x']);
  assert.deepEqual([...switches], ['check-config']);
});

const texts: readonly (readonly [string, string, unknown])[] = [
  ['RING_BYTES', '65536', 65_536],
  ['RING_BYTES', '64k', 65_536],
  ['RING_BYTES', '64 KB', 65_536],
  ['RING_BYTES', '1MiB', 1_048_576],
  ['RING_BYTES', '0.5g', 536_870_912],
  ['LOG_ROTATE_MB', '100', 104_857_600],
  ['LOG_ROTATE_MB', '64KiB', 65_536],
  ['SYNC_INTERVAL_MS', '25', 25],
  ['SYNC_INTERVAL_MS', '0', 0],
  ['SYNC_INTERVAL_MS', '1.5s', 1_500],
  ['SYNC_INTERVAL_MS', '1m', 60_000],
  ['LOG_MAX_AGE_DAYS', '7', 604_800_000],
  ['LOG_MAX_AGE_DAYS', '12h', 43_200_000],
  ['ACCEPTORS', '+4', 4],
  ['SAMPLE_RATIO', '.25', 0.25],
  ['SAMPLE_RATIO', '1e-3', 0.001],
  ['DNT_RESPECT', 'OFF', false],
  ['ACK', 'Sync', 'sync'],
  ['OUTPUTS', 'kafka, log,kafka', ['kafka', 'log']],
  ['KAFKA_BROKERS', 'a:1,b:2', ['a:1', 'b:2']],
  ['LOG_NAME', '=#"$\'', '=#"$\''],
];
for (const [name, given, expected] of texts) {
  test(`${name}=${given} is read as ${JSON.stringify(expected)}`, () => {
    const { values } = load({ env: { [name]: given } });
    const key = Object.entries({ ...values.engine, ...values.sinks }).filter(([, value]) => {
      return JSON.stringify(value) === JSON.stringify(expected);
    });
    assert.ok(key.length >= 1, JSON.stringify(values));
  });
}

const refused: readonly (readonly [string, string, string])[] = [
  [
    'RING_BYTES',
    '1000000',
    'RING_BYTES must be a size from 64KiB to 1GiB, a power of two: found="1000000" (environment)',
  ],
  ['RING_BYTES', '32KiB', 'RING_BYTES must be a size from 64KiB to 1GiB, a power of two: found="32KiB" (environment)'],
  ['RING_BYTES', '-1', 'RING_BYTES must be a size from 64KiB to 1GiB, a power of two: found="-1" (environment)'],
  [
    'RING_BYTES',
    '16 MBytes',
    'RING_BYTES must be a size from 64KiB to 1GiB, a power of two: found="16 MBytes" (environment)',
  ],
  ['SYNC_INTERVAL_MS', '61s', 'SYNC_INTERVAL_MS must be a duration from 0ms to 1m: found="61s" (environment)'],
  ['SYNC_INTERVAL_MS', '0.5', 'SYNC_INTERVAL_MS must be a duration from 0ms to 1m: found="0.5" (environment)'],
  ['WORKER_CONCURRENCY', '0', 'WORKER_CONCURRENCY must be a whole number from 1 to 64: found="0" (environment)'],
  ['ACCEPTORS', '2.0', 'ACCEPTORS must be a whole number from 1 to 64: found="2.0" (environment)'],
  ['ACCEPTORS', '0x10', 'ACCEPTORS must be a whole number from 1 to 64: found="0x10" (environment)'],
  ['SAMPLE_RATIO', 'NaN', 'SAMPLE_RATIO must be a number from 0 to 1: found="NaN" (environment)'],
  ['DNT_RESPECT', 'maybe', 'DNT_RESPECT must be true or false (also 1/0, on/off, yes/no): found="maybe" (environment)'],
  [
    'DNT_RESPECT',
    'toString',
    'DNT_RESPECT must be true or false (also 1/0, on/off, yes/no): found="toString" (environment)',
  ],
  ['ACK', 'disk', 'ACK must be one of memory, journal, sync: found="disk" (environment)'],
  [
    'OUTPUTS',
    'log,kafak',
    'OUTPUTS must be a comma-separated list (allowed: log, kafka, postgres): found="log,kafak" (environment)',
  ],
  [
    'OUTPUTS',
    'log,',
    'OUTPUTS must be a comma-separated list (allowed: log, kafka, postgres): found="log," (environment)',
  ],
  ['KAFKA_BROKERS', 'a', 'KAFKA_BROKERS must be a comma-separated list of host:port: found="a" (environment)'],
  ['LOG_NAME', '123456789', 'LOG_NAME must be a string, at most 8 characters: found="123456789" (environment)'],
  ['JOURNAL_DIR', 'a\0b', 'JOURNAL_DIR must be a path: found="a\\u0000b" (environment)'],
  [
    'LOG_NAME',
    'a\nb\nc\nd\ne',
    'LOG_NAME must be a string, at most 8 characters: found="a\\nb\\nc\\nd\\ne" (environment)',
  ],
];
for (const [name, given, line] of refused) {
  test(`${name}=${JSON.stringify(given)} is refused in one line that says what must hold and what was found`, () => {
    assert.deepEqual(problems({ env: { [name]: given } }), [line]);
  });
}

test('a long text is shortened in the message', () => {
  const [line] = problems({ env: { ACK: 'x'.repeat(5_000) } });
  assert.ok(line!.length < 250 && line!.includes('(5000 characters)'), line);
});

test('all problems are reported together, wherever they come from', (t) => {
  const envFile = inFile('ACK=disk\nRING_BYTE=1\nbroken line\n', t);
  const found = problems({
    envFile,
    env: { ACCEPTORS: '0' },
    argv: ['--sync-intervall-ms=5', '--sample-ratio=2', '--log-name'],
  });
  assert.deepEqual(found, [
    '--sync-intervall-ms is not a flag: did you mean --sync-interval-ms?',
    '--log-name requires a value',
    `${envFile}:3: a line must be NAME=value, empty, or start with #`,
    `${envFile}:2: RING_BYTE is not an option: did you mean RING_BYTES?`,
    'ACCEPTORS must be a whole number from 1 to 64: found="0" (environment)',
    `ACK must be one of memory, journal, sync: found="disk" (${envFile}:1)`,
    '--sample-ratio must be a number from 0 to 1: found="2"',
  ]);
});

test('an unknown flag is refused with the nearest name, also a switch, and with none when nothing is near', () => {
  const at = (argv: string[]) => {
    try {
      loadConfig(all, { env: {}, argv, switches: ['check-config'] });
      return 'taken';
    } catch (error) {
      return (error as RingmainError).message;
    }
  };
  assert.equal(at(['--ring-byte', '5']), '--ring-byte is not a flag: did you mean --ring-bytes?');
  assert.equal(at(['--chekc-config']), '--chekc-config is not a flag: did you mean --check-config?');
  assert.equal(at(['--env-fiel=x']), '--env-fiel is not a flag: did you mean --env-file?');
  assert.equal(at(['-ack=sync']), '-ack is not a flag: did you mean --ack?');
  assert.equal(at(['--quetzalcoatl']), '--quetzalcoatl is not a flag');
  assert.equal(at(['--check-config=yes']), '--check-config takes no value: found=yes');
});

// Goal: what Kubernetes injects for a service called kafka is nobody's mistake; a name misspelt in the environment is.
test('an unknown environment variable with one of our prefixes is a warning, and a problem under --check-config', () => {
  const kubernetes = {
    KAFKA_PORT: 'tcp://10.0.0.1:9092',
    KAFKA_PORT_9092_TCP: 'tcp://10.0.0.1:9092',
    KAFKA_PORT_9092_TCP_ADDR: '10.0.0.1',
    KAFKA_SERVICE_HOST: '10.0.0.1',
    KAFKA_SERVICE_PORT_CLIENTS: '9092',
  };
  const env = { ...kubernetes, KAFKA_BROKER: 'a:1', PATH: '/bin', HOME: '/', LANG: 'C' };
  const lines = ['environment: KAFKA_BROKER is not an option: did you mean KAFKA_BROKERS?'];
  const { warnings, values } = load({ env });
  assert.deepEqual(warnings, lines);
  assert.equal(values.sinks.kafkaBrokers, undefined);
  assert.deepEqual(problems({ env, strict: true }), lines);
  const argv = ['--check-config'];
  assert.throws(() => loadConfig(all, { env, argv, switches: ['check-config'] }), { code: 'CONFIG' });
});

test('names of other commands and shared prefixes are not unknown', (t) => {
  const tracing = defineConfig(
    'tracing',
    { endpoint: text({ default: '', env: 'OTEL_EXPORTER_OTLP_ENDPOINT', doc: 'Receiver.' }) },
    { sharedPrefixes: ['OTEL_'] },
  );
  const envFile = inFile('PG_DSN=postgres://x\nACK=sync\n', t);
  const { warnings, values } = loadConfig([engine, tracing], {
    env: { OTEL_SERVICE_NAME: 'x' },
    envFile,
    others: [sinks],
  });
  assert.deepEqual(warnings, []);
  assert.deepEqual(Object.keys(values), ['engine', 'tracing']);
});

test('without an env argument the environment of the process is read', (t) => {
  t.onTestFinished(() => setEnvironment('RING_BYTES', ''));
  setEnvironment('RING_BYTES', '256KiB');
  assert.equal(loadConfig([engine]).values.engine.ringBytes, 256 * KiB);
});

test('an empty value in the environment or the env file means not set, an empty flag is refused', (t) => {
  const envFile = inFile('ACK=sync\nLOG_NAME=\n', t);
  const { values } = load({ env: { ACK: '', RING_BYTES: '' }, envFile });
  assert.deepEqual([values.engine.ack, values.engine.ringBytes, values.sinks.logName], ['sync', 16 * MiB, 'events']);
  assert.deepEqual(problems({ argv: ['--log-name='] }), ['--log-name requires a value']);
});

test('two names of one option must not differ, and a flag must not stand twice with two values', () => {
  assert.equal(load({ env: { ACCEPTORS: '2', WORKER_CONCURRENCY: '2' } }).values.engine.acceptors, 2);
  assert.deepEqual(problems({ env: { ACCEPTORS: '2', WORKER_CONCURRENCY: '3' } }), [
    'ACCEPTORS and WORKER_CONCURRENCY must not differ: they name the same option (environment)',
  ]);
  assert.equal(load({ env: { ACCEPTORS: '2' }, argv: ['--worker-concurrency=3'] }).values.engine.acceptors, 3);
  assert.deepEqual(problems({ argv: ['--ack=sync', '--ack=memory'] }), ['--ack is given more than once']);
});

test('a secret may come from a file, and is never shown in a message', (t) => {
  const file = inFile('postgres://u:hunter2@h/db\n', t);
  const { values, sources } = load({ env: { PG_DSN_FILE: file } });
  assert.equal(values.sinks.pgDsn, 'postgres://u:hunter2@h/db');
  assert.equal(sources.get('PG_DSN'), 'environment, PG_DSN_FILE');
  assert.deepEqual(problems({ env: { PG_DSN_FILE: `${file}.not` } }), [
    `PG_DSN_FILE must name a readable file: path=${file}.not, found=ENOENT`,
  ]);
  const empty = inFile('\n', t);
  assert.deepEqual(problems({ env: { PG_DSN_FILE: empty } }), [
    `PG_DSN_FILE must name a file with a value: path=${empty} is empty`,
  ]);
  assert.match(problems({ env: { PG_DSN_FILE: file, PG_DSN: 'x' } })[0]!, /^PG_DSN and PG_DSN_FILE must not differ/);
  const wrong = problems({ env: { PG_DSN: 'hunter2\0' }, argv: ['--pg-dsn', 'hunter2\0'] });
  assert.deepEqual(wrong, ['--pg-dsn must be a string: found="***"']);
  assert.equal(load({ argv: [`--pg-dsn-file=${file}`] }).values.sinks.pgDsn, 'postgres://u:hunter2@h/db');
});

test('an env file that cannot be read is a problem', () => {
  assert.match(
    problems({ argv: ['--env-file', '/no/such/file'] })[0]!,
    /^--env-file must name a readable file: .* found=ENOENT$/,
  );
  assert.match(problems({ argv: ['--env-file=/'] })[0]!, /found=EISDIR$/);
});

test('a rule between options is checked when the options themselves are well', () => {
  const off = { JOURNAL_DIR: 'off' };
  assert.deepEqual(problems({ env: off }), ['ACK must be memory without a journal: found=journal']);
  assert.deepEqual(problems({ env: { ...off, ACK: 'memory' } }), []);
  const both = problems({ env: { ...off, OUTPUTS: 'x' } });
  assert.equal(both.length, 2, 'a problem of one room hid the rule of another');
  assert.equal(problems({ env: { ...off, RING_BYTES: 'x' } }).length, 1, 'the rule spoke of values that nobody gave');
});

test('a wrong declaration does not get past its definition', () => {
  const doc = 'x';
  assert.throws(() => defineConfig('a', { syncInterval: duration({ default: 1, doc }) }), /must end with Ms/);
  assert.throws(
    () => defineConfig('a', { agedMs: duration({ default: 1, env: 'AGE', doc }) }),
    /unit of a plain number/,
  );
  assert.throws(() => defineConfig('a', { rotateMb: bytes({ default: 1, doc }) }), /must not name another unit/);
  assert.throws(
    () => defineConfig('a', { threads: integer({ default: 0, min: 1, doc }) }),
    /a\.threads: the default must be/,
  );
  assert.throws(() => defineConfig('a', { Threads: integer({ default: 0, doc }) }), /camelCase/);
  assert.throws(() => defineConfig('a', { threads: integer({ default: 0, env: 'threads', doc }) }), /UPPER_SNAKE/);
  const again = defineConfig('again', { acceptors: integer({ default: 1, doc }) });
  assert.throws(
    () => loadConfig([engine, again], { env: {} }),
    /ACCEPTORS is declared twice: engine.acceptors and again/,
  );
  const hidden = defineConfig('hidden', { pgDsnFile: path({ doc }) });
  assert.throws(() => loadConfig([sinks, hidden], { env: {} }), /PG_DSN_FILE is declared twice/);
});

test('a service changes defaults of options by their names; what is given still wins', () => {
  const changed = withDefaults([engine, sinks], { RING_BYTES: '1m', OUTPUTS: 'kafka,log' });
  const { values, sources } = loadConfig(changed, { env: {} });
  assert.deepEqual([values['engine']!['ringBytes'], values['sinks']!['outputs']], [MiB, ['kafka', 'log']]);
  assert.equal(sources.size, 0);
  assert.equal(loadConfig(changed, { env: { RING_BYTES: '64k' } }).values['engine']!['ringBytes'], 64 * KiB);
  assert.equal(load().values.engine.ringBytes, 16 * MiB, 'the sets themselves were changed');
});

test('a default for an option that is not there, or that the option refuses, is a defect of the service', () => {
  assert.throws(() => withDefaults([engine], { RING_BITES: '1m' }), /options that the service has: found=RING_BITES/);
  assert.throws(() => withDefaults([engine], { RING_BYTES: '3' }), {
    name: 'TypeError',
    message: 'the default of RING_BYTES must be a size from 64KiB to 1GiB, a power of two: found=3',
  });
});

test("'' as a default is an empty list, or no default at all", () => {
  const { values } = loadConfig(withDefaults([sinks], { OUTPUTS: '', LOG_NAME: '' }), { env: {} });
  assert.deepEqual([values['sinks']!['outputs'], values['sinks']!['logName']], [[], undefined]);
});

test('an option that a service leaves out has its default, and nobody can set it', () => {
  const left = withoutOptions([engine, sinks], ['RING_BYTES']);
  assert.equal(loadConfig(left, { env: {} }).values['engine']!['ringBytes'], 16 * MiB);
  assert.throws(() => loadConfig(left, { argv: ['--ring-bytes=64k'], env: {} }), /ring-bytes/);
  assert.equal(load().values.engine.ringBytes, 16 * MiB, 'the sets themselves were changed');
  assert.throws(() => withoutOptions([engine], ['RING_BITES']), /that the service has are left out: found=RING_BITES/);
});

// Goal: a service takes over the names of another program. Method: its name and the option's own in every combination.
const named = withAliases([engine, sinks], { DATABASE_URL: 'PG_DSN', KAFKA_BROKER_URLS: 'KAFKA_BROKERS' });
const dsnOf = (options: LoadOptions) => loadConfig(named, { env: {}, ...options }).values['sinks']!['pgDsn'];

test('an alias of a service is read wherever its option is, and wins within a source', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-config-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'env');
  writeFileSync(file, 'DATABASE_URL=file\nPG_DSN=other\n');
  const secretFile = join(folder, 'secret');
  writeFileSync(secretFile, 'hidden\n');
  const seed = 'postgres://admin:secret@localhost:5432/analytics?sslmode=disable';
  assert.equal(dsnOf({ env: { DATABASE_URL: seed } }), seed);
  assert.equal(dsnOf({ env: { PG_DSN: 'own' } }), 'own');
  assert.equal(dsnOf({ env: { DATABASE_URL: seed, PG_DSN: 'own' } }), seed);
  assert.equal(dsnOf({ env: { DATABASE_URL_FILE: secretFile, PG_DSN: 'own' } }), 'hidden');
  assert.equal(dsnOf({ env: { DATABASE_URL: '', PG_DSN: 'own' } }), 'own', 'empty means not set');
  assert.equal(dsnOf({ envFile: file }), 'file');
  assert.equal(dsnOf({ argv: ['--pg-dsn=own', '--database-url=flag'] }), 'flag');
  // Between sources their order decides, whatever name they use.
  assert.equal(dsnOf({ argv: ['--pg-dsn=flag'], env: { DATABASE_URL: 'x' } }), 'flag');
  assert.equal(dsnOf({ env: { PG_DSN: 'own' }, envFile: file }), 'own');
});

// Goal: who gave DATABASE_URL is not told of PG_DSN. Method: a rule between options that names one, and each source.
test('a rule between options calls an option as it was given, else as the service does', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-config-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'secret');
  writeFileSync(file, 'x\n');
  const yaml = join(folder, 'c.yaml');
  writeFileSync(yaml, 'database: {dsn: x}\n');
  const db = defineConfig(
    'db',
    { pgDsn: secret({ doc: 'd' }) },
    { check: (_, __, name) => [`${name('PG_DSN')} is wrong`] },
  );
  const sets = withAliases([db], { DATABASE_URL: 'PG_DSN', 'database.dsn': 'PG_DSN' });
  const told = (options: LoadOptions, from = sets) => {
    try {
      loadConfig(from, { env: {}, ...options });
      return 'nothing';
    } catch (error) {
      return (error as Error).message;
    }
  };
  assert.equal(told({ env: { DATABASE_URL: 'x' } }), 'DATABASE_URL is wrong');
  assert.equal(told({ env: { PG_DSN: 'x' } }), 'PG_DSN is wrong');
  assert.equal(told({ argv: ['--database-url=x'] }), '--database-url is wrong');
  assert.equal(told({ env: { DATABASE_URL_FILE: file } }), 'DATABASE_URL_FILE is wrong');
  assert.equal(told({ configFile: yaml }), 'database.dsn is wrong');
  assert.equal(told({}), 'DATABASE_URL is wrong');
  assert.equal(told({}, [db]), 'PG_DSN is wrong');
});

test('help, reference and --print-config show the alias; other variables of its prefix are nobody’s business', () => {
  const options = { env: { DATABASE_URL: 'x', KAFKA_BROKER_URLS: 'a:1,b:2', DATABASE_HOST: 'h' }, strict: true };
  const loaded = loadConfig(named, options);
  assert.deepEqual(loaded.values['sinks']!['kafkaBrokers'], ['a:1', 'b:2']);
  assert.match(helpText(named), /--pg-dsn {2}\(PG_DSN, DATABASE_URL; sinks\.pg_dsn\)/);
  assert.match(markdownReference(named), /`PG_DSN`<br>also `DATABASE_URL`, `PG_DSN_FILE`, `DATABASE_URL_FILE`/);
  assert.match(printConfig(named, loaded), /^PG_DSN="\*\*\*" {2}# environment, DATABASE_URL$/m);
  const refused = () => loadConfig(named, { env: { KAFKA_BROKER_URLS: 'no-port' } });
  assert.throws(
    refused,
    /KAFKA_BROKER_URLS must be a comma-separated list of host:port: found="no-port" \(environment\)$/,
  );
});

// Goal: files of another program are read as they are. Method: a service's paths beside the options' own.
test('a path that a service gives is read beside the own path of its option, wins over it, and is documented', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-config-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'dsn'), 'hidden\n');
  const pathed = withAliases([engine, sinks], { DATABASE_URL: 'PG_DSN', 'database.url': 'PG_DSN' });
  const read = (yaml: string, env = {}) => {
    const configFile = join(folder, 'c.yaml');
    writeFileSync(configFile, yaml);
    return loadConfig(pathed, { env, configFile });
  };
  const dsn = (yaml: string, env = {}) => read(yaml, env).values['sinks']!['pgDsn'];
  assert.equal(dsn('database: {url: theirs}'), 'theirs');
  assert.equal(dsn('sinks: {pg_dsn: own}'), 'own');
  assert.equal(dsn('sinks: {pg_dsn: own}\ndatabase: {url: theirs}'), 'theirs');
  assert.equal(dsn('sinks: {pg_dsn: own}\ndatabase: {url: ""}'), 'own', 'empty means not set');
  assert.equal(dsn(`database: {url_file: ${join(folder, 'dsn')}}`), 'hidden');
  assert.equal(dsn('database: {url: theirs}', { PG_DSN: 'env' }), 'env');
  assert.match(read('database: {url: x}').sources.get('PG_DSN')!, /c\.yaml:1:17$/);
  assert.throws(() => read('database: {ur: x}'), /database\.ur is not an option: did you mean database\.url\?/);
  assert.throws(() => read('DATABASE_URL: x'), /did you mean database\.url\?/);
  assert.match(helpText(pathed), /\(PG_DSN, DATABASE_URL; database\.url, sinks\.pg_dsn\)/);
  assert.match(markdownReference(pathed), /\| `database\.url`<br>also `sinks\.pg_dsn` \|/);
});

test('an option may stand at the top of a YAML file', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-config-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const configFile = join(folder, 'c.yaml');
  const top = defineConfig('top', { names: list({ default: [], yaml: 'names', doc: 'Names.' }) });
  writeFileSync(configFile, 'names:\n  - a\n  - b\nengine: {ring_bytes: 1m}\n');
  assert.deepEqual(loadConfig([top, engine], { env: {}, configFile }).values.top.names, ['a', 'b']);
  const inside = defineConfig('inside', { more: list({ default: [], yaml: 'names.more', doc: 'More names.' }) });
  assert.throws(() => loadConfig([top, inside], { env: {} }), /names is an option and a section: names\.more/);
});

test('an alias of no option, or one that is an option already, is a defect of the service', () => {
  assert.throws(() => withAliases([sinks], { DATABASE_URL: 'DSN' }), /options that the service has: found=DSN/);
  assert.throws(() => withAliases([sinks], { database: 'PG_DSN' }), /UPPER_SNAKE, .*: found=database$/);
  assert.throws(() => withAliases([sinks], { 'Data.dsn': 'PG_DSN' }), /UPPER_SNAKE, .*: found=Data\.dsn$/);
  assert.throws(
    () => loadConfig(withAliases([sinks], { 'sinks.log_name': 'PG_DSN' }), { env: {} }),
    /log_name is declared twice/,
  );
  assert.throws(() => loadConfig(withAliases([sinks], { LOG_NAME: 'PG_DSN' }), { env: {} }), /declared twice/);
});

test('a duration whose name has no unit takes none without one', () => {
  const set = defineConfig('a', {
    maxAgeMs: duration({ env: 'MAX_AGE', unitRequired: true, doc: 'Age.', unset: 'any' }),
  });
  assert.equal(loadConfig([set], { env: { MAX_AGE: '2d' } }).values.a.maxAgeMs, 172_800_000);
  assert.throws(
    () => loadConfig([set], { env: { MAX_AGE: '2' } }),
    /MAX_AGE must be a duration with its unit: found="2"/,
  );
});

// Goal: a script can tell a mistyped flag (64) from a wrong value (78), and still reads every problem at once.
test('a flag that cannot be read is a fault of the command line, a wrong value one of the configuration', () => {
  const bogus = { argv: ['--bogus', '--ack=maybe'] };
  assert.throws(() => load(bogus), { code: 'USAGE', exit: 64 });
  assert.equal(problems(bogus).length, 2);
  for (const argv of [['--ack='], ['--ack'], ['--ack=sync', '--ack=memory'], ['--check-config=1']])
    assert.throws(() => load({ argv, switches: ['check-config'] }), { code: 'USAGE', exit: 64 }, argv.join(' '));
  assert.throws(() => load({ argv: ['--ack=maybe'] }), { code: 'CONFIG', exit: 78 });
});
