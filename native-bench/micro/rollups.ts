/**
 * What do rollups cost per event? Batches of 10,000 events of one site go through Rollups.apply() into a real Postgres
 * on this machine: more than 8,000 visitors a batch, 2,000 paths, some visitors signed in. A batch is a minute of the day.
 *
 * CPU figures are of this process and of all of the server's processes.
 */
import { createHash } from 'node:crypto';
import { DAY_MS, SLOT_MS } from '../../src/analytics/dimensions.ts';
import type { CountedEvent } from '../../src/analytics/event.ts';
import { Rollups } from '../../src/analytics/rollup/rollup.ts';
import { Transaction } from '../../src/sinks/postgres/transaction.ts';
import { openLink } from '../../src/store/postgres/connection.ts';
import { schema } from '../../test/analytics/schema.ts';
import { startPostgres } from '../../test/servers/postgres.ts';
import type { MicroResult } from '../rig/micro.ts';
import { treeCpuUs } from '../rig/proc.ts';
import type { Goal } from '../rig/report.ts';
import { spread } from '../rig/stats.ts';

const PORT = 21681;
const BATCH = 10_000;
const PATHS = 2000;
const BATCHES = Number(process.env['BATCHES'] ?? 20);
const BEGIN = Math.floor(Date.UTC(2026, 10, 2) / DAY_MS) * DAY_MS + 40 * SLOT_MS;

let state = 1;
function random(): number {
  state = (state + 0x6d2b79f5) | 0;
  let x = Math.imul(state ^ (state >>> 15), 1 | state);
  x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
  return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
}
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
const hex = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32);
const referrers = Array.from({ length: 200 }, (_, index) => `https://site-${index}.example/`);
const browsers = ['Chrome', 'Safari', 'Firefox', 'Edge'];

/** `visitors` to choose from: few of them come again in the batch, some in later ones. */
function makeBatch(batch: number, signedInShare: number, visitors: number): CountedEvent[] {
  return Array.from({ length: BATCH }, (_, index): CountedEvent => {
    const who = Math.floor(random() * visitors);
    const signedIn = who / visitors < signedInShare;
    const timestampMs = BEGIN + batch * 60_000 + Math.floor(random() * 60_000);
    const id = hex(`${batch}/${index}`);
    const referrer = random() < 0.4 ? pick(referrers) : undefined;
    return {
      event: {
        eventId: `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`,
        siteId: 'site',
        eventType: random() < 0.9 ? 'page_view' : 'click',
        path: `/page/${Math.floor(random() * PATHS)}`,
        userId: signedIn ? `user-${who}` : undefined,
        timestampMs,
        receivedMs: timestampMs,
        referrer,
        country: pick(['DE', 'FR', 'NP', 'US', 'IN', 'BR']),
        region: pick(['BE', 'BY', 'CA', 'NY', 'KA']),
        device: pick(['desktop', 'mobile', 'tablet']),
        browser: pick(browsers),
        os: pick(['Windows', 'macOS', 'Linux', 'iOS', 'Android']),
        utm_source: random() < 0.1 ? 'newsletter' : undefined,
      },
      site: 1,
      visitor: hex(`visitor-${who}`),
      signedIn,
      source: referrer ?? '',
    };
  });
}

function ownCpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** The first batches fill empty tables and warm up the code. */
const WARM_UP = 3;
/** CPU of client and server per event that issue 15 leaves for rollups, in us. */
const CPU_US_MAX = 35;
const rows: { name: string; kind: 'ours'; ns: number[] }[] = [];
const goals: Goal[] = [];

for (const signedInShare of [0, 0.2, 1]) {
  const server = await startPostgres(undefined, {
    port: PORT,
    own: true,
    settings: { shared_buffers: '512MB', autovacuum: 'off', max_wal_size: '4GB' },
  });
  const link = await openLink(server.dsn);
  await link.query(schema);
  await link.query("INSERT INTO sites (site_id) VALUES ('site')");
  const rollups = new Rollups({ sessionTimeoutMs: 1_800_000, dimensionValuesMax: 10_000, propertiesMax: 100 });
  const figures: { client: number; server: number; wall: number }[] = [];
  for (let batch = 0; batch < BATCHES; batch += 1) {
    const events = makeBatch(batch, signedInShare, 60_000);
    const [client, serverUs, begin] = [ownCpu(), treeCpuUs(server.pid), performance.now()];
    const transaction = new Transaction(link, 'BEGIN', undefined);
    const prepared = rollups.prepare();
    for (const event of events) prepared.add(event);
    await prepared.apply(transaction);
    await transaction.commit();
    const wall = ((performance.now() - begin) * 1000) / BATCH;
    figures.push({ client: (ownCpu() - client) / BATCH, server: (treeCpuUs(server.pid) - serverUs) / BATCH, wall });
  }
  const steady = figures.slice(WARM_UP);
  const both = spread(steady.map((figure) => figure.client + figure.server));
  const [ofClient, ofServer] = [spread(steady.map(({ client }) => client)), spread(steady.map((one) => one.server))];
  const cpu = `CPU us: client ${ofClient.median.toFixed(1)}, server ${ofServer.median.toFixed(1)}`;
  rows.push({
    name: `${signedInShare * 100} % signed in (${cpu})`,
    kind: 'ours',
    ns: steady.map(({ wall }) => wall * 1000),
  });
  goals.push({
    goal: `Rollups of analytics, ${signedInShare * 100} % signed in, CPU of client and server`,
    bound: 'most',
    limit: CPU_US_MAX,
    value: both.median,
    unit: 'us/event',
    spread: `${both.min.toFixed(1)}..${both.max.toFixed(1)}`,
  });
  await link.close();
  await server.stop();
}

const result: MicroResult = { asks: 'What do the rollups of analytics cost per event?', unit: 'event', rows, goals };
if (process.argv.includes('--json')) console.log(JSON.stringify(result));
else {
  for (const { name, ns } of rows) console.log(`${name}: wall ${(spread(ns).median / 1000).toFixed(1)} us per event`);
}
