/**
 * What else changes what a pixel costs: the number of connections, the size of the event, where the client's address comes from, a first
 * visit, ten thousand connections that ask every five seconds?
 */
import type { Question } from '../rig/bench.ts';
import { type Load, wrk } from '../rig/load.ts';
import { startNginx, trustedProxies } from '../rig/peers.ts';
import type { Goal } from '../rig/report.ts';
import type { PixelOptions } from '../rig/request.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest, type Results, type Round, runIn, voidReason } from '../rig/rounds.ts';
import { median, pairedRatios, spread } from '../rig/stats.ts';
import type { Subject } from '../rig/subject.ts';
import { printed, ratioGoal, ratioOf, rawOf, us, valueGoal, withSpread } from '../rig/table.ts';
import { lastLines } from '../rig/tail.ts';

/**
 * As after the first JOURNAL_RETAIN_MS. While segments are still made, the keeper fills them with zeros; on one core that it shares with
 * the acceptor it falls behind more than 100 MB/s of events, and they are refused (429): a fresh server under a load that none has.
 */
const reused = { JOURNAL_RETAIN_MS: '0' };
const crowdRate = 2000;

/** A row is worth something only when both sides store the same address: the one of the header, or the one of the socket. */
function checkAddress({ name, logs }: Subject, expected: RegExp): void {
  const { ip } = JSON.parse(lastLines(logs[0]!, 4096).at(-1)!) as { ip: string };
  if (!expected.test(ip)) throw new Error(`${name} must log the client's address: expected=${expected}, found=${ip}`);
}

/** How a ratio grows from one row to another, round by round: what the kernel asks for more connections it asks both. */
function growthGoal(results: Results, row: string, base: string): Goal {
  const of = (side: 'nginx' | 'ringmain', name: string): readonly Round[] => results.get(`${side}, ${name}`)!;
  const beside = (name: string): number[] =>
    pairedRatios(column(of('ringmain', name), 'cpuUsPerEvent'), column(of('nginx', name), 'cpuUsPerEvent'));
  const rounds = [row, base].flatMap((name) => [...of('ringmain', name), ...of('nginx', name)]);
  const s = spread(voidReason(rounds) === undefined ? pairedRatios(beside(row), beside(base)) : []);
  return {
    goal: `growth from ${base} to ${row}, beside nginx's`,
    bound: 'most',
    limit: 1.3,
    value: s.median,
    unit: 'x',
    spread: `${us(s.min)}..${us(s.max)}`,
  };
}

export const variants: Question = {
  name: 'variants',
  asks: 'A pixel event with one thing changed per row: connections, size, address, first visit; ACK=journal over reused segments, 64 connections unless it says otherwise; wrk, the rows at 2,000/s by the fixed-rate generator.',
  async answer(bench) {
    const ours = (trustProxy: boolean | string) => () =>
      startRingmain(bench.tree, bench.place(), { trustProxy, env: reused });
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      ours(true),
      () => startNginx(bench.place(), { trust: 'list' }),
      ours(trustedProxies.join()),
      () => startNginx(bench.place(), { trust: 'nobody' }),
      ours(false),
    ];
    return bench.with(starts, async (subjects) => {
      const [proxy, list, direct] = [0, 2, 4].map((i) => subjects.slice(i, i + 2)) as [Subject[], Subject[], Subject[]];
      const both = ([nginx, ringmain]: Subject[], name: string, load: Load) => [
        { name: `nginx, ${name}`, subject: nginx!, load },
        { name: `ringmain, ${name}`, subject: ringmain!, load },
      ];
      const pixels = (options: PixelOptions, connections = 64): Load =>
        wrk(bench.pixels(options), { connections, seconds: 1 });
      const forwarded = true;
      const closed = await contest(
        [
          ...[64, 1, 256, 1000].flatMap((n) => both(proxy, `${n} connections`, pixels({ forwarded }, n))),
          ...both(proxy, 'the smallest line', pixels({ bare: true })),
          ...both(proxy, '1.5 KB more', pixels({ forwarded, padding: 1500 })),
          ...both(proxy, '7.5 KB more', pixels({ forwarded, padding: 7500 })),
          ...both(proxy, 'first visit', pixels({ forwarded, cookie: false })),
          ...both(list, 'list of proxies', pixels({ forwarded })),
          ...both(direct, 'address of the socket', pixels({})),
        ],
        bench.rounds,
      );
      for (const subject of list) checkAddress(subject, /^203\.\d+\.113\.\d+$/);
      for (const subject of direct) checkAddress(subject, /^127\.0\.0\.1$/);
      await runIn(proxy, pixels({ forwarded }));
      const crowd = bench.short ? 2000 : 10_000;
      const at = (connections: number): Load =>
        bench.openLoop(bench.pixels(), { connections, rate: crowdRate, seconds: bench.short ? 2 : 6 });
      const open = await contest(
        [64, crowd].flatMap((n) => both(proxy, `${n} connections at 2,000/s`, at(n))),
        bench.rounds,
      );
      const results: Results = new Map([...closed, ...open]);
      const rows = printed(results)
        .filter(([name]) => name.startsWith('ringmain, '))
        .map(([name, rounds]) => {
          const kind = name.slice('ringmain, '.length);
          const nginx = results.get(`nginx, ${kind}`)!;
          const cost = (side: readonly Round[]): string =>
            voidReason(side) === undefined ? us(median(column(side, 'cpuUsPerEvent'))) : `void: ${voidReason(side)}`;
          return [kind, cost(nginx), cost(rounds), withSpread(ratioOf(rounds, nginx)), rounds[0]!.rssMiB.toFixed(0)];
        });
      const row = (kind: string): readonly Round[] => results.get(`ringmain, ${kind}`)!;
      const beside = (kind: string, limit?: number): Goal =>
        ratioGoal(`pixel, ACK=journal, ${kind}`, limit, results, `ringmain, ${kind}`, `nginx, ${kind}`);
      return {
        tables: [{ head: ['row', 'nginx us', 'ringmain us', 'ratio', "ringmain's RSS MiB"], rows }],
        notes: [
          "nginx takes the address from X-Forwarded-For with its real-IP module, which is off in the row of the socket. It issues no sid; on a first visit it only lacks the cookie. Its line holds the query as it came, and ours what it says: 'the smallest line' has about 190 bytes, the others 530 and what is added.",
          'The connections of the last rows are opened before a round begins and closed after it.',
        ],
        goals: [
          growthGoal(results, '1 connections', '64 connections'),
          growthGoal(results, '1000 connections', '64 connections'),
          growthGoal(results, '7.5 KB more', '64 connections'),
          beside('address of the socket', 1),
          beside('list of proxies'),
          beside('first visit'),
          ratioGoal(
            `${crowd} connections beside 64 at the same rate`,
            1.3,
            results,
            `ringmain, ${crowd} connections at 2,000/s`,
            'ringmain, 64 connections at 2,000/s',
          ),
          valueGoal(
            `RSS with ${crowd} connections`,
            150e6 / 2 ** 20,
            'MiB',
            row(`${crowd} connections at 2,000/s`),
            'rssMiB',
          ),
        ],
        raw: rawOf(results),
      };
    });
  },
};
