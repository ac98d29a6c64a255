import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { loadConfig, printConfig, Refused } from '../../../src/kernel/config.ts';
import { operatorsConfig } from '../../../src/sms/operators/config.ts';
import { parseOperators } from '../../../src/sms/operators/operator-option.ts';
import { temporaryFolder } from '../../servers/process.ts';

const http = { name: 'irancell', driver: 'http', url: 'https://api.example/messages' };
const smpp = { name: 'mci', driver: 'smpp', url: 'smpp://smsc.example:2775', system_id: 'ringmain' };
const TOKEN = 'token-0123456789';
const PASSWORD = 'hush-hu5';

test('MCI and Irancell are configurations of two drivers, with defaults that work', () => {
  assert.deepEqual(
    parseOperators([
      { ...smpp, prefixes: ['+9891', '+9899'], password: PASSWORD, tps: 200 },
      { ...http, prefixes: ['+9890', '+9890'], token: TOKEN },
    ]),
    [
      {
        name: 'mci',
        driver: 'smpp',
        url: 'smpp://smsc.example:2775',
        prefixes: ['+9891', '+9899'],
        weight: 1,
        cost: 0,
        window: 10,
        tps: 200,
        timeout_ms: 10_000,
        sender: '',
        system_id: 'ringmain',
        password: PASSWORD,
        enquire_link_ms: 30_000,
        receipt_id: 'same',
      },
      {
        name: 'irancell',
        driver: 'http',
        url: 'https://api.example/messages',
        prefixes: ['+9890'],
        weight: 1,
        cost: 0,
        window: 64,
        tps: 0,
        timeout_ms: 10_000,
        token: TOKEN,
        sender: '',
      },
    ],
  );
});

test.for([
  [{}, 'not a list', []],
  [[7], 'an operator must be a mapping with name, driver and url', [0]],
  [[{ ...http, name: 'MCI' }], 'name must be of 1 to 32 small letters, digits, - and _: found="MCI"', [0, 'name']],
  [[http, http], 'name must be there once: found="irancell"', [1, 'name']],
  [[{ ...http, driver: 'ucp' }], 'driver must be http or smpp: found="ucp"', [0, 'driver']],
  [[{ ...smpp, receipt_id: 'dec' }], 'receipt_id must be one of same, hex, decimal: found="dec"', [0, 'receipt_id']],
  [[{ ...http, system_id: 'a' }], 'system_id is no member of an operator with driver http', [0, 'system_id']],
  [[{ ...http, url: 'https://u:p4ss@x/' }], 'url must be http(s)://host[:port]/path, without user', [0, 'url']],
  [[{ ...http, url: 'smpp://x:1' }], 'url must be http(s)://host[:port]/path', [0, 'url']],
  [[{ ...smpp, url: 'http://x:1' }], 'url must be smpp://host:port or smpps://host:port', [0, 'url']],
  [[{ ...smpp, system_id: undefined }], 'system_id must be of 1 to 15 printable ASCII characters', [0, 'system_id']],
  [
    [{ ...smpp, password: 'longer-than-8' }],
    'password must be of at most 8 printable ASCII characters',
    [0, 'password'],
  ],
  [[{ ...http, token: 'short' }], 'token must be of 16 to 1024 printable ASCII characters', [0, 'token']],
  [
    [{ ...http, token_file: '/nowhere/x' }],
    'token_file must be a readable file: found="/nowhere/x: ENOENT"',
    [0, 'token_file'],
  ],
  [[{ ...http, token: TOKEN, token_file: 'x' }], 'one of token and token_file must be given', [0, 'token_file']],
  [[{ ...http, prefixes: ['98'] }], 'a prefix must be + and up to 15 digits, as text: found="98"', [0, 'prefixes', 0]],
  [[{ ...http, prefixes: [] }], 'prefixes must be a list of 1 to 1000 beginnings', [0, 'prefixes']],
  [[{ ...http, window: 0 }], 'window must be a whole number from 1 to 10000: found=0', [0, 'window']],
  [[{ ...http, tps: '5' }], 'tps must be a whole number from 0 to 100000: found="5"', [0, 'tps']],
  [[{ ...http, sender: 'much too long for a sender' }], 'sender must be a number of up to 15 digits', [0, 'sender']],
] as const)('what is wrong is said, and where: %j', ([value, because, path]) => {
  try {
    parseOperators(value);
    assert.fail('it was taken');
  } catch (error) {
    assert.ok(error instanceof Refused, String(error));
    assert.ok(error.because!.startsWith(because), error.because);
    assert.deepEqual(error.path, path);
    assert.doesNotMatch(error.because!, /p4ss|longer-than-8|short"/, 'a secret is quoted');
  }
});

test('secrets come from files, and --print-config and errors never show them', (t) => {
  const { folder, remove } = temporaryFolder('ringmain-operators-');
  t.onTestFinished(remove);
  const file = join(folder, 'token');
  writeFileSync(file, `${TOKEN}\n`);
  const text = JSON.stringify([
    { ...http, token_file: file },
    { ...smpp, password: PASSWORD },
  ]);
  const loaded = loadConfig([operatorsConfig], { env: { OPERATORS: text } });
  assert.equal(loaded.values.operators.operators[0]!.token, TOKEN);
  const printed = printConfig([operatorsConfig], loaded);
  assert.match(printed, /irancell.*token\\":\\"\*\*\*/);
  assert.match(printed, /password\\":\\"\*\*\*/);
  assert.doesNotMatch(printed, new RegExp(`${TOKEN}|${PASSWORD}`));
  const broken = text.slice(0, -2);
  assert.throws(
    () => loadConfig([operatorsConfig], { env: { OPERATORS: broken } }),
    (error: Error) => /OPERATORS must be a list/.test(error.message) && !error.message.includes(PASSWORD),
  );
});

test('a YAML file has them as a list, and an error names its line', (t) => {
  const { folder, remove } = temporaryFolder('ringmain-operators-');
  t.onTestFinished(remove);
  const file = join(folder, 'sms.yaml');
  const lines = [
    'operators:',
    '  - name: mci',
    '    driver: http',
    '    url: http://127.0.0.1:9000/sms',
    '    tps: -1',
  ];
  writeFileSync(file, lines.join('\n'));
  assert.throws(
    () => loadConfig([operatorsConfig], { env: {}, configFile: file }),
    /operators must be .*: tps must be a whole number from 0 to 100000: found=-1 \(.*sms\.yaml:5:\d+\)/,
  );
});
