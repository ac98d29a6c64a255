/** What do refusals, hits of the cache and proxied requests cost, and how soon are 10,000 users and keys known? */
import { makeKey } from '../../src/access/api-key.ts';
import { followRegistry } from '../../src/gateway/registry/worker.ts';
import { openLink } from '../../src/store/postgres/connection.ts';
import { migrateUp } from '../../src/store/postgres/migrate.ts';
import { startPostgres } from '../../test/servers/postgres.ts';
import type { Question } from '../rig/bench.ts';
import { addCustomer, fillUsers, pictureRequests, startGateway } from '../rig/gateway.ts';
import { startLimitedNginx } from '../rig/gateway-peers.ts';
import { wrk } from '../rig/load.ts';
import { contest } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import { ratioGoal, rawOf, roundsTable, us, valueGoal } from '../rig/table.ts';
import { hits, type Part, proxied, type Setting } from './gateway-served.ts';

const USERS = 10_000;
const migrations = new URL('../../src/gateway/migrations/', import.meta.url);

const NGINX = 'nginx limit_req';
const NO_KEY = 'ringmain 401, no key';
const WRONG_KEY = 'ringmain 401, wrong key';
const LIMITED = 'ringmain 429';

/** Milliseconds from opening a session until everything is known. */
async function readingMs(dsn: string): Promise<number> {
  const end = new AbortController();
  const begin = performance.now();
  let ready = Number.NaN;
  const follower = followRegistry({
    open: () => openLink(dsn),
    log: { info: () => undefined, warn: () => undefined } as never,
    ready: () => {
      ready = performance.now();
      end.abort();
    },
  });
  await follower.run(end.signal);
  return ready - begin;
}

/** Requests that are refused. */
async function refusals({ bench, env, seconds }: Setting): Promise<Part> {
  const open = { ...env, IP_REQUESTS_PER_MINUTE: '1000000000' };
  return bench.with(
    [
      () => startLimitedNginx(bench.place()),
      () => startGateway(NO_KEY, bench.tree, bench.place(), open),
      () => startGateway(LIMITED, bench.tree, bench.place(), { ...env, IP_REQUESTS_PER_MINUTE: '1' }),
    ],
    async ([nginx, answering, limiting]) => {
      const options = { connections: 64, seconds, path: '/' };
      const bare = wrk(
        bench.requests('picture', () => pictureRequests()),
        options,
      );
      const stranger = { 'X-API-Key': makeKey('rm', 'live').text };
      const keyed = wrk(
        bench.requests('picture-keyed', () => pictureRequests(stranger)),
        options,
      );
      const results = await contest(
        [
          { name: NGINX, subject: nginx!, load: bare, refusals: true },
          { name: NO_KEY, subject: answering!, load: bare, refusals: true },
          { name: WRONG_KEY, subject: answering!, load: keyed, refusals: true },
          { name: LIMITED, subject: limiting!, load: bare, refusals: true },
        ],
        bench.rounds,
      );
      const remarks = {
        [NGINX]: 'no Retry-After; a line in a buffered log',
        [LIMITED]: 'Retry-After, RateLimit; a record that kill -9 does not lose',
      };
      return {
        tables: [roundsTable(results, { title: 'Refusals, 64 connections', baseline: NGINX, remarks })],
        goals: [
          ratioGoal('gateway: a request over its limit, beside nginx limit_req', 1.5, results, LIMITED, NGINX, {
            headline: true,
          }),
          ratioGoal('gateway: a request without a key, beside nginx limit_req', 1.5, results, NO_KEY, NGINX),
          ratioGoal('gateway: a request with a wrong key, beside nginx limit_req', 1.5, results, WRONG_KEY, NGINX),
          valueGoal('gateway: RSS under that load', 200e6 / 2 ** 20, 'MiB', results.get(LIMITED), 'rssMiB'),
        ],
        raw: rawOf(results),
      };
    },
  );
}

export const gateway: Question = {
  name: 'gateway',
  asks: 'Requests for a picture that are refused, served from the cache, and proxied; 64 connections, wrk. 10,000 users with a key, a limit and a quota each are known.',
  async answer(bench) {
    const undo: (() => unknown)[] = [];
    const scope = { onTestFinished: (fn: () => unknown) => void undo.push(fn) };
    try {
      const { dsn } = await startPostgres(scope, {
        port: bench.place().port,
        own: true,
        settings: { fsync: 'off', max_wal_size: '4GB' },
      });
      await migrateUp({ dsn, service: 'gateway', folder: migrations, tell: () => undefined });
      const link = await openLink(dsn, { queryTimeoutMs: 600_000 });
      undo.push(() => link.close());
      await fillUsers(link, USERS);
      const customer = await addCustomer(link);
      const readings: number[] = [];
      for (let i = 0; i < (bench.short ? 2 : 10); i++) readings.push(await readingMs(dsn));

      // The journal keeps the records that Postgres has not taken yet: nobody is answered 503 for want of room.
      const env = { DB_DSN: dsn, JOURNAL_MAX_BYTES: '8GiB', LOG_LEVEL: 'warn', DRAIN_TIMEOUT_MS: '100' };
      const setting: Setting = { bench, link, customer, env, seconds: 1 };
      const refused = await refusals(setting);
      const hit = await hits(setting);
      const passed = await proxied(setting);
      return {
        tables: [
          ...[refused, hit, passed].flatMap(({ tables }) => tables),
          {
            title: `${USERS.toLocaleString('en')} users and keys`,
            head: ['', 'ms'],
            rows: [['from opening a session until all of them are known, median', us(median(readings))]],
          },
        ],
        notes: [
          'The gateway writes a record of every request to its journal and from there to Postgres; that is in its CPU.',
          'The backend of proxied requests runs on the core of the load, and its time is not in the figures.',
        ],
        goals: [
          ...[refused, hit, passed].flatMap(({ goals }) => goals),
          {
            goal: 'gateway: 10,000 users and keys are known',
            bound: 'most',
            limit: 300,
            value: median(readings),
            unit: 'ms',
          },
        ],
        versions: passed.versions ?? [],
        raw: { readings, refusals: refused.raw, hits: hit.raw, proxied: passed.raw },
      };
    } finally {
      for (const fn of undo.reverse()) await fn();
    }
  },
};
