/**
 * `npm run demo:sms`: the SMS gateway on :8080 with a Postgres of its own, Kafka and chdb where they can be had, two
 * operators and three customers: a bank whose messages are express, a shop with a rate of its own, and a newspaper that
 * floods and runs out of money. It sends, shows balances, times and reports, and prints lines to paste. Everything lies in
 * a temporary folder and goes with it on Ctrl-C.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { audit } from '../src/sms/money/audit.ts';
import { chdbFolder } from './servers/chdb-folder.ts';
import { type HttpOperator, startHttpOperator } from './servers/http-operator.ts';
import { startKafka } from './servers/kafka.ts';
import { startPostgres } from './servers/postgres.ts';
import { ServerProcess, temporaryFolder } from './servers/process.ts';
import { addCustomer, migrateSms, openLink } from './sms/database.ts';

const PORT = Number(process.env['DEMO_PORT'] ?? 8080);
const URL_ = `http://127.0.0.1:${PORT}`;
const REPORTS_URL = `http://127.0.0.1:${PORT + 1}`;
/** Of Postgres; Kafka and chdb have those behind it. */
const BASE = Number(process.env['DEMO_SERVERS'] ?? 24_790);
const READY_MS = 120_000;
const FLOOD = Number(process.env['DEMO_FLOOD'] ?? 5000);
const BATCH = 500;
/** Messages of the bank and of the shop. */
const QUIET = 100;
/** Money of the newspaper: for three messages in four. */
const NEWS_BALANCE = Math.floor((FLOOD * 3) / 4);

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const secret = (): string => randomBytes(32).toString('hex');
const { folder, remove } = temporaryFolder('demo-sms');
const end = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // The harness would end the process at once, with the servers still running.
    process.removeAllListeners(signal);
    process.once(signal, () => resolve());
  }
});
const undo: (() => unknown)[] = [remove];
const scope = { onTestFinished: (fn: () => unknown) => void undo.push(fn) };

/** What can be done without: undefined, and one line that says why. */
async function had<T>(what: string, make: () => Promise<T>): Promise<T | undefined> {
  if (process.env[`DEMO_${what.toUpperCase()}`] === 'off') return undefined;
  try {
    return await make();
  } catch (error) {
    say(`without ${what}: ${(error as Error).message.split('\n')[0]}`);
    return undefined;
  }
}

say('starting Postgres, two operators, Kafka and chdb ...');
const token = secret();
const operatorNamed = (name: string): Promise<HttpOperator> =>
  startHttpOperator(scope, { token, delayMs: 20, receipts: { url: URL_, name } });
const [postgres, mci, irancell, kafka, chdb] = await Promise.all([
  startPostgres(scope, { port: BASE, own: true }),
  operatorNamed('mci'),
  operatorNamed('irancell'),
  had('kafka', () => startKafka(scope, { port: BASE + 1, own: true })),
  had('chdb', chdbFolder),
]);
await migrateSms(postgres.dsn);
const link = await openLink(postgres.dsn);
await addCustomer(link, 'bank', { balance: 10_000, lane: 'express' });
await addCustomer(link, 'shop', { balance: 10_000 });
await addCustomer(link, 'news', { balance: NEWS_BALANCE });
await link.query("UPDATE customers SET rate_per_s = 50 WHERE customer_id = 'shop'");

say('starting Ringmain ...');
const adminKey = secret();
const operators = [
  { name: 'mci', driver: 'http', url: mci.url, token, prefixes: ['+9891'], window: 64 },
  { name: 'irancell', driver: 'http', url: irancell.url, token, prefixes: ['+9893'], window: 64 },
];
const ringmain = new ServerProcess(
  process.execPath,
  ['dist/main.js', 'sms'],
  {
    env: {
      ...process.env,
      SERVER_ADDR: `127.0.0.1:${PORT}`,
      REPORTING_ADDR: `127.0.0.1:${PORT + 1}`,
      PG_DSN: postgres.dsn,
      KEY_PEPPER: secret(),
      ADMIN_KEY: adminKey,
      ACCESS: 'open',
      OPERATORS: JSON.stringify(operators),
      JOURNAL_DIR: join(folder, 'journal'),
      ARCHIVE_DIR: join(folder, 'archive'),
      CLICKHOUSE_DIR: join(folder, 'clickhouse'),
      LOG_LEVEL: 'warn',
      ...(kafka === undefined ? {} : { KAFKA_BROKERS: kafka.brokers[0] }),
      ...(chdb === undefined
        ? { REPORTS: 'off' }
        : { CHDB_DIR: chdb, CHDB_PORT: String(BASE + 6), REPORTS_EVERY_MS: '1s' }),
    },
  },
  folder,
);
undo.push(() => ringmain.end('SIGTERM'));
await ringmain.until(async () => (await fetch(`${URL_}/readyz`).catch(() => undefined))?.ok ?? false, READY_MS);

/** Each operator says what became of most messages, a moment later. */
let receiving = true;
const receipts = Promise.all(
  [mci, irancell].map(async (operator) => {
    for (let told = 0; receiving; ) {
      const message = operator.taken[told];
      if (message === undefined) await sleep(50);
      else {
        await operator.receipt(message.message_id, told % 20 === 7 ? 'failed' : 'delivered').catch(() => undefined);
        told += 1;
      }
    }
  }),
);
undo.push(async () => {
  receiving = false;
  await receipts;
});

const messageOf = (customer_id: string, n: number) => ({
  customer_id,
  to: `+98${n % 2 === 0 ? '912' : '935'}${String(1_000_000 + (n % 9_000_000)).padStart(7, '0')}`,
  text: `Message ${n} of ${customer_id}`,
  idempotency_key: `${customer_id}-${n}`,
});
/** What is answered 503 is sent again, under its key: on a busy machine a customer may be locked for longer than is waited for. */
const BUSY = 503;
const BUSY_MS = 200;
const post = (path: string, body: object): Promise<Response> =>
  fetch(`${URL_}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

let refused = 0;
const flood = async (): Promise<void> => {
  for (let from = 0; from < FLOOD; from += BATCH) {
    let messages = Array.from({ length: Math.min(BATCH, FLOOD - from) }, (_, i) => messageOf('news', from + i));
    while (messages.length > 0) {
      const { results } = (await (await post('/v1/sms/batch', { messages })).json()) as {
        results: readonly { readonly problem?: { readonly status: number } }[];
      };
      const busy = messages.filter((_, i) => results[i]!.problem?.status === BUSY);
      refused += results.filter(({ problem }) => problem !== undefined).length - busy.length;
      if (busy.length > 0) await sleep(BUSY_MS);
      messages = busy;
    }
  }
};
const quiet = async (customer: string): Promise<void> => {
  for (let n = 0; n < QUIET; n += 1) {
    let answer = await post('/v1/sms/send', messageOf(customer, n));
    while (answer.status === BUSY) {
      await answer.arrayBuffer();
      await sleep(BUSY_MS);
      answer = await post('/v1/sms/send', messageOf(customer, n));
    }
    if (!answer.ok) throw new Error(`a message of ${customer} must be accepted: found=${await answer.text()}`);
    await answer.arrayBuffer();
    await sleep(20);
  }
};
say(`news sends ${FLOOD} messages at once, with money for ${NEWS_BALANCE}; bank and shop ${QUIET} each meanwhile ...`);
await Promise.all([flood(), quiet('bank'), quiet('shop')]);
await ringmain.until(async () => {
  const { rows } = await link.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM sms_logs WHERE status IN ('accepted', 'sending')",
  );
  return rows[0]!.n === 0;
}, READY_MS);

say(`\ncustomer  accepted  refused  balance  reserved   accept to operator, ms: p50     p99`);
for (const customer of ['bank', 'shop', 'news']) {
  const { balance, reserved } = (await (await fetch(`${URL_}/v1/customers/${customer}/balance`)).json()) as {
    balance: number;
    reserved: number;
  };
  const { rows } = await link.query<{ n: number; p50: number; p99: number }>(
    `SELECT count(*)::int AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::int AS p50,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::int AS p99
     FROM (SELECT extract(epoch FROM sent_at - created_at) * 1000 AS ms FROM sms_logs WHERE customer_id = $1) AS times`,
    [customer],
  );
  const { n, p50, p99 } = rows[0]!;
  const cells: readonly (readonly [unknown, number])[] = [
    [n, 8],
    [customer === 'news' ? refused : 0, 7],
    [balance, 7],
    [reserved, 8],
    [p50, 29],
    [p99, 6],
  ];
  say(`${customer.padEnd(8)}  ${cells.map(([cell, width]) => String(cell).padStart(width)).join('  ')}`);
}
const { differences, transfers } = await audit(link);
say(`\naudit: ${transfers} transfers, ${differences.length} differences`);
await link.close();

const [today, tomorrow] = [0, 86_400_000].map((ms) => new Date(Date.now() + ms).toISOString().slice(0, 10));
const asAdmin = `-H 'authorization: Bearer ${adminKey}'`;
if (chdb !== undefined) {
  const report = async () => {
    const answer = await fetch(`${REPORTS_URL}/v1/reports/day?from=${today}&to=${tomorrow}`, {
      headers: { authorization: `Bearer ${adminKey}` },
    });
    return answer.ok ? ((await answer.json()) as { rows: readonly { accepted: number; sent: number }[] }).rows : [];
  };
  // A report is some seconds behind.
  await ringmain.until(async () => (await report()).some(({ sent }) => sent >= NEWS_BALANCE + 2 * QUIET), READY_MS);
  say(`report of today: ${JSON.stringify((await report())[0])}`);
}

say('\nSend a message:');
say(
  `  curl -s -H 'content-type: application/json' -d '{"customer_id":"shop","to":"+989121234567","text":"Hello"}' ${URL_}/v1/sms/send`,
);
say('What became of the last ones:');
say(`  curl -s '${URL_}/v1/sms?customer_id=shop&limit=2'`);
say('A balance:');
say(`  curl -s ${URL_}/v1/customers/shop/balance`);
if (chdb !== undefined) {
  say(`The page of the traffic: ${REPORTS_URL}; the key that it asks for:`);
  say(`  ${adminKey}`);
  say('Reports:');
  say(`  curl -s ${asAdmin} '${REPORTS_URL}/v1/reports/day?customer_id=bank&from=${today}&to=${tomorrow}'`);
}
say('Ctrl-C ends it.');

await end;
for (const fn of undo.reverse()) await fn();
say('ended');
process.exit(0);
