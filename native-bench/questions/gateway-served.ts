/** Parts of the question `gateway`: hits of its cache beside nginx, and requests that it proxies beside Envoy and Caddy. */
import type { PostgresLink } from '../../src/store/postgres/connection.ts';
import type { Bench } from '../rig/bench.ts';
import { askAll, type Customer, pictureRequests, startGateway } from '../rig/gateway.ts';
import {
  caddyBinary,
  envoyBinary,
  startCachingNginx,
  startCaddy,
  startEnvoy,
  startPictureBackend,
  startSmallBackends,
  versions,
  weights,
} from '../rig/gateway-peers.ts';
import { wrk } from '../rig/load.ts';
import type { Answer, Goal, Table } from '../rig/report.ts';
import {
  calm,
  column,
  contest,
  type Entry,
  met,
  openColumn,
  type Results,
  type Round,
  runIn,
  voidReason,
} from '../rig/rounds.ts';
import { metric } from '../rig/scrape.ts';
import { median, spread } from '../rig/stats.ts';
import { loadCore, move, type Subject, serverCore, thaw } from '../rig/subject.ts';
import { count, ratioGoal, rawOf, roundsTable, withSpread } from '../rig/table.ts';

/** What a part of the question gets. */
export interface Setting {
  readonly bench: Bench;
  readonly link: PostgresLink;
  readonly customer: Customer;
  /** Options of every gateway. */
  readonly env: Readonly<Record<string, string>>;
  /** Of a round. */
  readonly seconds: number;
}

export type Part = Required<Pick<Answer, 'tables' | 'goals' | 'raw'>> & Pick<Answer, 'versions'>;

const CONNECTIONS = 64;
const PICTURE_BYTES = 20_000;
/** Pictures that are asked for in turn: 5 MB, all in memory. */
const PICTURES = 256;
const SMALL_BYTES = 1024;
/** Of proxied requests, more than connections: two under way for the same picture would be one at the backend. */
const PATHS = 1024;
const RSS_MIB_MAX = 200e6 / 2 ** 20;
const ADDED_US_MAX = 150;

const NGINX = 'nginx proxy_cache';
const HIT = 'ringmain hit';
const OURS = 'ringmain proxied';
const ENVOY = 'envoy';
const CADDY = 'caddy';
const DIRECT = 'the backend directly';

/** A gateway whose backends are these: what a gateway before it has put into the table would count instead. */
async function startBefore({ bench, link, env }: Setting, name: string, urls: readonly string[]): Promise<Subject> {
  await link.query('DELETE FROM backends');
  const backends = urls.map((url, i) => ({ url, weight: urls.length === 1 ? 1 : weights[i] }));
  return startGateway(name, bench.tree, bench.place(), { ...env, BACKENDS: JSON.stringify(backends) });
}

/** Memory of a gateway that serves hits, without the pictures. */
async function besideCache(subject: Subject, rounds: readonly Round[]): Promise<Goal> {
  thaw(subject);
  const text = await (await fetch(`${subject.url}/metrics`)).text();
  const cacheMiB = metric(text, 'ringmain_gateway_cache_memory_bytes') / 2 ** 20;
  const s = spread(voidReason(rounds) === undefined ? column(rounds, 'rssMiB').map((mib) => mib - cacheMiB) : []);
  return {
    goal: 'gateway: RSS beside the pictures in the cache, serving hits',
    bound: 'most',
    limit: RSS_MIB_MAX,
    value: s.median,
    unit: 'MiB',
    spread: `${count(s.min)}..${count(s.max)}; pictures ${cacheMiB.toFixed(1)}`,
  };
}

/** Hits of a picture of 20 KB: both have fetched all of them once. */
export async function hits(setting: Setting): Promise<Part> {
  const { bench, customer, seconds } = setting;
  const requests = pictureRequests({ 'X-API-Key': customer.key }, { source: customer.source, sizes: PICTURES });
  return bench.with([() => startPictureBackend(bench.place(), PICTURE_BYTES)], ([backend]) =>
    bench.with(
      [() => startCachingNginx(bench.place(), backend!), () => startBefore(setting, HIT, [backend!.url])],
      async ([nginx, ours]) => {
        for (const { url } of [nginx!, ours!]) await askAll(url, requests, PICTURE_BYTES);
        const load = wrk(
          bench.requests('picture-hits', () => requests),
          { connections: CONNECTIONS, seconds, path: '/' },
        );
        const behind = [backend!];
        const results = await contest(
          [
            { name: NGINX, subject: nginx!, load, behind },
            { name: HIT, subject: ours!, load, behind },
          ],
          bench.rounds,
        );
        const remarks = {
          [NGINX]: 'its files kept open; no key, no limit, no usage',
          [HIT]: 'key, ownership, limits, usage; a record that kill -9 does not lose',
        };
        const title = `Hits of the cache, ${PICTURES} pictures of ${PICTURE_BYTES / 1000} KB, ${CONNECTIONS} connections`;
        return {
          tables: [roundsTable(results, { title, baseline: NGINX, remarks })],
          goals: [
            ratioGoal('gateway: a hit of a 20 KB picture, beside nginx proxy_cache', 1.3, results, HIT, NGINX, {
              headline: true,
            }),
            await besideCache(ours!, results.get(HIT)!),
          ],
          raw: rawOf(results),
        };
      },
    ),
  );
}

/** p50 of rows at one rate, and what each adds to that of the backend. */
function addedTable(results: Results, rate: number): Table {
  const direct = p50Of(results, DIRECT);
  const rows = [...results].map(([name, all]) => {
    const rounds = calm(all);
    const reason = voidReason(rounds);
    if (rounds.length === 0) met.rows.add(`${name}, latency`);
    if (reason !== undefined) return [name, `void: ${reason}`, '', '', ''];
    return [
      name,
      withSpread(spread(column(rounds, 'p50Us')), count),
      name === DIRECT ? '' : count(p50Of(results, name) - direct),
      withSpread(spread(column(rounds, 'p99Us')), count),
      count(median(openColumn(rounds, 'lateP50Us'))),
    ];
  });
  const title = `Latency at ${count(rate)} requests/s, half of what the gateway can; the backend on the same core`;
  return {
    title,
    head: ['subject', 'p50 us (min..max)', 'added, us', 'p99 us (min..max)', 'generator late, p50 us'],
    rows,
  };
}

/** NaN: void. */
function p50Of(results: Results, name: string): number {
  const rounds = calm(results.get(name) ?? []);
  return voidReason(rounds) === undefined ? median(column(rounds, 'p50Us')) : Number.NaN;
}

/** Requests that a backend answers at once, with a small body that nobody may keep. */
export async function proxied(setting: Setting): Promise<Part> {
  const { bench, customer, seconds } = setting;
  const [envoy, caddy] = [await envoyBinary(), await caddyBinary()];
  const small = (name: string) => () => startSmallBackends(name, [bench.place(), bench.place()], SMALL_BYTES);
  return bench.with([small('backend'), small(DIRECT)], ([backend, direct]) => {
    const { urls } = backend!;
    return bench.with(
      [
        () => startBefore(setting, OURS, urls),
        ...(envoy === undefined ? [] : [() => startEnvoy(bench.place(), envoy, customer.key, urls)]),
        ...(caddy === undefined ? [] : [() => startCaddy(bench.place(), caddy, customer.key, urls)]),
      ],
      async (subjects) => {
        const behind = [backend!];
        const requests = pictureRequests({ 'X-API-Key': customer.key }, { source: customer.source, sizes: PATHS });
        for (const { url } of subjects) await askAll(url, requests.slice(0, 10), SMALL_BYTES);
        const file = bench.requests('picture-proxied', () => requests);
        const load = wrk(file, { connections: CONNECTIONS, seconds, path: '/' });
        await runIn(subjects, wrk(file, { connections: CONNECTIONS, seconds: bench.short ? 1 : 3, path: '/' }));
        const of = (some: readonly Subject[], by: Entry['load']): Entry[] =>
          some.map((subject) => ({ name: subject.name, subject, load: by, behind }));
        const results = await contest(of(subjects, load), bench.rounds);

        const rate = Math.round(median(column(results.get(OURS) ?? [], 'eventsPerSecond')) / 2);
        const late = new Map<string, readonly Round[]>([
          [DIRECT, []],
          [OURS, []],
        ]);
        // Without a calm row there is no rate to take half of.
        if (rate > 0) {
          for (const one of [backend!, direct!]) move(one, serverCore);
          const open = bench.openLoop(file, { connections: CONNECTIONS, rate, seconds });
          const asked = [direct!, ...subjects.filter(({ name }) => name !== CADDY)];
          for (const [name, rounds] of await contest(of(asked, open), bench.rounds)) late.set(name, rounds);
          move(backend!, loadCore);
        }
        const remarks = {
          [OURS]: 'key, ownership, limits, usage, cache asked; a record that kill -9 does not lose',
          [ENVOY]: 'keys in clear, one bucket for all',
          [CADDY]: 'one key in clear, no limit',
        };
        const title = `Proxied requests, ${SMALL_BYTES} bytes that may not be kept, ${CONNECTIONS} connections`;
        const baseline = envoy === undefined ? {} : { baseline: ENVOY };
        return {
          tables: [roundsTable(results, { title, ...baseline, remarks }), addedTable(late, rate)],
          goals: [
            ...(envoy === undefined
              ? []
              : [ratioGoal('gateway: a proxied request, beside Envoy', 1, results, OURS, ENVOY, { headline: true })]),
            ...(caddy === undefined
              ? []
              : [ratioGoal('gateway: a proxied request, beside Caddy', 0.8, results, OURS, CADDY)]),
            {
              goal: 'gateway: p50 that it adds to the backend, at half of its highest rate',
              bound: 'most',
              limit: ADDED_US_MAX,
              value: p50Of(late, OURS) - p50Of(late, DIRECT),
              unit: 'us',
            },
          ],
          versions: [
            ...(envoy === undefined ? [] : [versions.envoy]),
            ...(caddy === undefined ? [] : [versions.caddy]),
          ],
          raw: { closed: rawOf(results), atRate: { rate, results: rawOf(late) } },
        };
      },
    );
  });
}
