/** How fast is ACK=sync, and how far is its latency from that of a bare fdatasync of the same bytes? */
import type { Bench, Question } from '../rig/bench.ts';
import { type Load, runPinned, wrk } from '../rig/load.ts';
import type { Goal } from '../rig/report.ts';
import { type Ringmain, startRingmain } from '../rig/ringmain.ts';
import { calm, column, interleave, measure, met, type Round, voidReason, warmUp } from '../rig/rounds.ts';
import { metric } from '../rig/scrape.ts';
import { median, spread } from '../rig/stats.ts';
import { freeze, serverCore, thaw } from '../rig/subject.ts';
import { count, printed, rawOf, us, valueGoal } from '../rig/table.ts';

interface BareSync {
  readonly bytes: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Of a request under an ideal group commit of these syncs. */
  readonly groupP50Us: number;
  readonly groupP99Us: number;
}

/** Bytes of an event in the journal besides its line: fixed fields, its share of a frame's header, padding. */
const overheadBytes = 72;
const lineBytes = 480;

/** The part of the p99 that the server owes; a closed loop cannot tell. */
const servedP99Us = ({ open, p99Us }: Round): number => open?.servedP99Us ?? p99Us;

/** One round, and the bare fdatasync of as many bytes as one sync of that round covered, right after it. */
async function withBareSync(
  bench: Bench,
  subject: Ringmain,
  { load, events }: { readonly load: Load; readonly events: number },
  bare: WeakMap<Round, BareSync>,
): Promise<Round> {
  thaw(subject);
  const syncs = async (): Promise<number> => metric(await subject.metrics(), 'ringmain_journal_syncs_total');
  const before = await syncs();
  const round = await measure(subject, load, { eventsPerRequest: events });
  thaw(subject);
  const perSync = round.events / Math.max(1, (await syncs()) - before);
  freeze(subject);
  const bytes = Math.round(perSync * (lineBytes + overheadBytes));
  const program = new URL('../load/fdatasync.ts', import.meta.url).pathname;
  const out = await runPinned(
    process.execPath,
    [program, subject.dir, String(bytes), bench.short ? '0.3' : '0.5'],
    serverCore,
  );
  bare.set(round, JSON.parse(out) as BareSync);
  return round;
}

const slow = 'pixel, c=256, 20 k/s';
const slowBatches = '/collect by 20, c=64, 50 k events/s';

export const sync: Question = {
  name: 'sync',
  asks: 'ACK=sync: the highest rate (wrk) and the latency at the goal rates (fixed-rate generator), beside a bare fdatasync of the bytes that one sync covered, same disk, same run.',
  async answer(bench) {
    const starts = (['sync', 'journal'] as const).map(
      (ack) => () => startRingmain(bench.tree, bench.place(), { ack, name: ack }),
    );
    return bench.with(starts, async ([synced, unsynced]) => {
      const { seconds } = bench;
      const collect = { connections: 64, seconds, path: '/collect' };
      const fixed = bench.openLoop(bench.pixels(), { connections: 256, seconds, rate: 20_000 });
      const rows: { name: string; subject: Ringmain; load: Load; events: number }[] = [
        {
          name: 'pixel, c=256, highest rate',
          subject: synced!,
          load: wrk(bench.pixels(), { connections: 256, seconds }),
          events: 1,
        },
        { name: slow, subject: synced!, load: fixed, events: 1 },
        {
          name: '/collect by 20, c=64, highest rate',
          subject: synced!,
          load: wrk(bench.collects(20), collect),
          events: 20,
        },
        {
          name: slowBatches,
          subject: synced!,
          load: bench.openLoop(bench.collects(20), { ...collect, rate: 2_500 }),
          events: 20,
        },
        { name: `ACK=journal: ${slow}`, subject: unsynced!, load: fixed, events: 1 },
      ];
      // By round: one that is repeated because something else worked takes its syncs along.
      const bares = new WeakMap<Round, BareSync>();
      await warmUp(unsynced!, rows[0]!.load);
      for (const { subject, load } of rows) if (load.name === 'wrk') await warmUp(subject, load);
      for (const subject of [synced!, unsynced!]) freeze(subject);
      const results = await interleave(
        rows.map(({ name, subject, ...row }) => ({ name, once: () => withBareSync(bench, subject, row, bares) })),
        bench.rounds,
      );
      const table = printed(results).flatMap(([name, all]): string[][] => {
        const rounds = calm(all);
        if (rounds.length === 0) met.rows.add(name);
        const reason = voidReason(rounds);
        if (reason !== undefined) return rounds.length === 0 ? [] : [[name, `void: ${reason}`, '', '', '', '', '', '']];
        const bare = rounds.map((round) => bares.get(round)!);
        const theirs = median(bare.map((b) => b.p99Us));
        return [
          [
            name,
            count(median(column(rounds, 'eventsPerSecond'))),
            us(median(column(rounds, 'cpuUsPerEvent'))),
            count(median(column(rounds, 'p50Us'))),
            count(median(rounds.map(servedP99Us))),
            `${count(median(bare.map((b) => b.p50Us)))} / ${count(theirs)} (${count(median(bare.map((b) => b.bytes)) / 1024)} KiB)`,
            (median(rounds.map(servedP99Us)) / theirs).toFixed(1),
            `${count(median(bare.map((b) => b.groupP50Us)))} / ${count(median(bare.map((b) => b.groupP99Us)))}`,
          ],
        ];
      });
      const p99Goal = (name: string, headline: boolean): Goal => {
        const rounds = calm(results.get(name)!);
        const isVoid = voidReason(rounds) !== undefined;
        const s = spread(isVoid ? [] : rounds.map((round) => servedP99Us(round) / bares.get(round)!.p99Us));
        return {
          goal: `ACK=sync, p99, ${name}`,
          bound: 'most',
          limit: 3,
          value: s.median,
          unit: 'x fdatasync',
          spread: `${us(s.min)}..${us(s.max)}`,
          ...(headline ? { headline } : {}),
        };
      };
      const rateGoal = (goal: string, limit: number, name: string): Goal =>
        valueGoal(goal, limit, 'events/s', results.get(name), 'eventsPerSecond', { bound: 'least', headline: true });
      return {
        tables: [
          {
            head: [
              'load',
              'events/s',
              'CPU us/event',
              'p50 us',
              'p99 us, without the generator',
              'bare fdatasync p50 / p99 us',
              'p99 ratio',
              'ideal group commit p50 / p99 us',
            ],
            rows: table,
          },
        ],
        notes: [
          'At the highest rate a closed loop measures its own queue: with 256 requests under way the mean latency is 256 / rate, whatever the disk does. The ratio counts at the fixed rates.',
          'Without the generator: less what the generator itself was late with a request because its thread did not run.',
          'Ideal group commit: computed from the bare syncs, what a request would wait if nothing but the syncs took time: the rest of the one that runs and all of the next.',
          'The row of ACK=journal waits for no sync. What it shows at p99 are pauses of the thread, the process and the machine, and they are in all rows.',
        ],
        goals: [
          rateGoal('ACK=sync, pixels, c=256', 20_000, 'pixel, c=256, highest rate'),
          rateGoal('ACK=sync, /collect by 20, c=64', 50_000, '/collect by 20, c=64, highest rate'),
          p99Goal(slow, true),
          p99Goal(slowBatches, false),
        ],
        raw: {
          results: rawOf(results),
          bare: Object.fromEntries([...results].map(([name, all]) => [name, all.map((round) => bares.get(round))])),
        },
      };
    });
  },
};
