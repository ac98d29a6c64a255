/**
 * `npm run demo:analytics`: the whole of analytics in one process on :8080 with a Postgres of its own, two sites, and two
 * weeks of traffic that is sent through the front door like anybody's; then a trickle of visits goes on until Ctrl-C.
 * Everything lies in a temporary folder and goes with it. DATABASE_URL, when set, is used instead of a Postgres of our own.
 */
import { writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { probeEndpoint } from '../src/http/endpoint.ts';
import { exitCodes } from '../src/kernel/errors.ts';
import { type TrafficVisit, trafficSites, visitsOf } from './analytics/traffic.ts';
import { main } from './servers/collector.ts';
import { startPostgres } from './servers/postgres.ts';
import { ServerProcess, temporaryFolder } from './servers/process.ts';
import { buildMmdb } from './visitor/mmdb.ts';

const PORT = Number(process.env['DEMO_PORT'] ?? 8080);
const URL_ = `http://127.0.0.1:${PORT}`;
const READY_MS = 60_000;
/** The test of this demo is content with less. */
const DAYS = Number(process.env['DEMO_DAYS'] ?? 14);
const DAY_MS = 86_400_000;
/** Requests on their way at once. */
const CONNECTIONS = 16;
/** A visit of the trickle begins every so often. */
const TRICKLE_MS = 700;
const TRIES_MAX = 20;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const count = (n: number): string => n.toLocaleString('en-US');

/** Addresses of the demo's visitors lie in 10.0.0.0/8; each /16 is given a country. */
const countries = ['DE', 'US', 'US', 'FR', 'GB', 'IN', 'BR', 'NL', 'PL', 'JP', 'ES', 'SE', 'CA', 'IR', 'NP', 'AU'];
/** The region of each: its code and its name. */
const regions: Readonly<Record<string, readonly [code: string, name: string]>> = {
  DE: ['BE', 'Land Berlin'],
  US: ['CA', 'California'],
  FR: ['IDF', 'Île-de-France'],
  GB: ['ENG', 'England'],
  IN: ['MH', 'Maharashtra'],
  BR: ['SP', 'São Paulo'],
  NL: ['NH', 'North Holland'],
  PL: ['14', 'Mazovia'],
  JP: ['13', 'Tokyo'],
  ES: ['MD', 'Madrid'],
  SE: ['AB', 'Stockholm'],
  CA: ['ON', 'Ontario'],
  IR: ['23', 'Tehran'],
  NP: ['P3', 'Bagmati'],
  AU: ['NSW', 'New South Wales'],
};
const networks = Object.fromEntries(
  Array.from({ length: 256 }, (_, i) => {
    const code = countries[(i * i + 3 * i) % countries.length]!;
    const [region, name] = regions[code]!;
    const subdivisions = [{ iso_code: region, names: { en: name } }];
    return [`10.${i}.0.0/16`, { country: { iso_code: code, names: { en: code } }, subdivisions }];
  }),
);

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + READY_MS; performance.now() < deadline; await sleep(50))
    if (await holds()) return;
  throw new Error(`${what} must hold within ${READY_MS} ms`);
}

const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });

/** Sends the events of a visit as its browser would; resolves with the status, 0 for a connection that broke. */
function post({ address, userAgent }: TrafficVisit, events: readonly unknown[]): Promise<number> {
  const body = JSON.stringify(events);
  const headers = { 'Content-Type': 'application/json', 'User-Agent': userAgent, 'X-Forwarded-For': address };
  return new Promise((resolve) => {
    const sent = request(`${URL_}/events`, { agent, method: 'POST', headers }, (answer) => {
      answer.resume().once('end', () => resolve(answer.statusCode ?? 0));
    });
    sent.once('error', () => resolve(0)).end(body);
  });
}

/** Sends until it is taken: 429 asks to come again. */
async function deliver(visit: TrafficVisit, events: readonly unknown[]): Promise<void> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const status = await post(visit, events);
    if (status === 202) return;
    if (status !== 429 && status !== 0) throw new Error(`POST /events must answer 202: found=${status}`);
    await sleep(500);
  }
  throw new Error(`POST /events must take an event within ${TRIES_MAX} tries`);
}

// Whoever else listens there would be ready at once, and get two weeks of invented traffic.
await probeEndpoint({ host: '127.0.0.1', port: PORT }).catch((error: Error) => {
  process.stderr.write(`${error.message}\nDEMO_PORT gives the demo another port\n`);
  process.exit(exitCodes.temporary);
});
const { folder, remove } = temporaryFolder('demo-analytics');
let ended = false;
const end = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // The harness would end the process at once, with the servers still running.
    process.removeAllListeners(signal);
    process.once(signal, () => {
      ended = true;
      resolve();
    });
  }
});

const borrowed = process.env['DATABASE_URL'];
if (borrowed === undefined) say('starting Postgres ...');
const postgres = borrowed === undefined ? await startPostgres(undefined, { port: 24_770, own: true }) : undefined;
const dsn = borrowed ?? postgres!.dsn;
const geo = join(folder, 'demo.mmdb');
writeFileSync(geo, buildMmdb(networks));
say('starting Ringmain ...');
const ringmain = new ServerProcess(
  process.execPath,
  [main, 'analytics'],
  {
    env: {
      ...process.env,
      SERVER_ADDR: `127.0.0.1:${PORT}`,
      DATABASE_URL: dsn,
      KAFKA_BROKER_URLS: undefined,
      GEOIP_DB: geo,
      // The demo's visitors come from addresses of their own.
      TRUST_PROXY: 'true',
      ACCESS: 'open',
      LOG_LEVEL: 'warn',
      JOURNAL_DIR: join(folder, 'journal'),
      DEAD_LETTER_DIR: join(folder, 'dead-letters'),
    },
  },
  folder,
);
await ringmain.until(async () => (await fetch(`${URL_}/readyz`).catch(() => undefined))?.ok ?? false, READY_MS);

const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const days = Array.from({ length: DAYS + 1 }, (_, i) => today - (DAYS - i) * DAY_MS);
const history = days.flatMap((day) =>
  trafficSites.flatMap((site) => visitsOf(site, day, 1).filter((visit) => visit.atMs < Date.now())),
);
say(
  `sending ${DAYS} days of traffic: ${count(history.length)} visits of ${trafficSites.map(({ siteId }) => siteId).join(' and ')}`,
);
const begin = performance.now();
let sent = 0;
let next = 0;
await Promise.all(
  Array.from({ length: CONNECTIONS }, async () => {
    while (next < history.length && !ended) {
      const visit = history[next++]!;
      await deliver(visit, visit.events);
      sent += visit.events.length;
    }
  }),
);

/** The goals of a site, as somebody makes them on its dashboard. */
async function makeGoals({ siteId, goal, goalPath }: (typeof trafficSites)[number]): Promise<void> {
  for (const [kind, match] of [
    ['event', goal.eventType],
    ['path', goalPath],
  ] as const) {
    const answer = await fetch(`${URL_}/api/sites/${siteId}/goals`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ kind, match }),
    });
    if (!answer.ok) throw new Error(`a goal must be made: found=${await answer.text()}`);
  }
}

interface Stats {
  readonly total_views: number;
  readonly unique_users: number;
  readonly top_paths: readonly { readonly path: string; readonly views: number }[];
}
/** Of the day before as well: midnight may have passed meanwhile. */
async function booksOf(siteId: string): Promise<{ accepted: number; stored: number; pending: number }> {
  const sums = { accepted: 0, stored: 0, pending: 0 };
  for (const date of new Set([dateOf(today), dateOf(Date.now())])) {
    const answer = await fetch(`${URL_}/reconcile?site_id=${siteId}&date=${date}`);
    const day = (await answer.json()) as typeof sums;
    for (const key of ['accepted', 'stored', 'pending'] as const) sums[key] += day[key];
  }
  return sums;
}
const dateOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
const statsAt = (siteId: string, date: string): string => `${URL_}/stats?site_id=${siteId}&date=${date}`;

if (!ended) {
  const seconds = (performance.now() - begin) / 1000;
  say(`${count(sent)} events accepted in ${seconds.toFixed(1)} s`);
  const yesterday = dateOf(today - DAY_MS);
  // The processor and the count of what was accepted follow the log, each at its own pace.
  await until('everything that was accepted is counted', async () => {
    const books = await Promise.all(trafficSites.map(({ siteId }) => booksOf(siteId)));
    const stored = books.reduce((sum, { accepted, stored, pending }) => sum + Math.min(accepted, stored) - pending, 0);
    return ended || stored >= sent;
  });
  for (const site of trafficSites) await makeGoals(site);
  for (const { siteId } of trafficSites) {
    const stats = (await (await fetch(statsAt(siteId, yesterday))).json()) as Stats;
    const paths = stats.top_paths.slice(0, 3).map(({ path, views }) => `${path} ${views}`);
    say(`${siteId}  ${yesterday}  ${stats.total_views} views  ${stats.unique_users} users  ${paths.join('  ')}`);
  }
  say(`\nIt stays up, and a trickle of visits goes on. Try:`);
  say(`  curl '${statsAt('shop.example', yesterday)}'`);
  say(`  curl '${URL_}/reconcile?site_id=shop.example&date=${dateOf(Date.now())}'`);
  say(
    `  curl -i ${URL_}/events -H 'Content-Type: application/json' -d '{"site_id":"shop.example","event_type":"page_view","path":"/mine"}'`,
  );
  say('Ctrl-C ends it.');
}

/** Visits that happen now: each sends its events one by one, a few seconds apart. */
async function trickle(): Promise<void> {
  for (let seed = 2; !ended; seed++) {
    // By address: that mixes the sites.
    const visits = trafficSites.flatMap((site) => visitsOf(site, today, seed));
    for (const visit of visits.sort((a, b) => (a.address < b.address ? -1 : 1))) {
      if (ended) return;
      void walk(visit);
      await Promise.race([sleep(TRICKLE_MS), end]);
    }
  }
}

async function walk(visit: TrafficVisit): Promise<void> {
  for (const event of visit.events) {
    if (ended) return;
    const { timestamp: _, ...now } = event;
    await post(visit, [now]);
    await Promise.race([sleep(4000), end]);
  }
}

await Promise.race([trickle(), end]);
agent.destroy();
await ringmain.end('SIGTERM');
await postgres?.stop();
remove();
say('ended');
process.exit(0);
