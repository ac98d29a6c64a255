/** How fast is ACK=sync, and how far is its latency from that of a bare fdatasync of the same bytes? */
import type { Bench, Question } from '../rig/bench.ts';
import { type Load, runPinned, wrk } from '../rig/load.ts';
import { type Ringmain, startRingmain } from '../rig/ringmain.ts';
import { column, interleave, measure, type Results, type Round, runIn, voidReason, warmUp } from '../rig/rounds.ts';
import { metric } from '../rig/scrape.ts';
import { median, spread } from '../rig/stats.ts';
import { freeze, serverCore, thaw } from '../rig/subject.ts';
import { count, rawOf, roundsTable, us, valueGoal } from '../rig/table.ts';

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

/** What of the p99 the server owes; a closed loop cannot tell. */
const servedP99Us = ({ open, p99Us }: Round): number => open?.servedP99Us ?? p99Us;

/** One round, and the bare fdatasync of as many bytes as one sync of that round covered, right after it. */
async function withBareSync(
  bench: Bench,
  subject: Ringmain,
  load: Load,
  eventsPerRequest: number,
  bare: WeakMap<Round, BareSync>,
): Promise<Round> {
  thaw(subject);
  const syncs = async (): Promise<number> => metric(await subject.metrics(), 'ringmain_journal_syncs_total');
  const before = await syncs();
  const round = await measure(subject, load, { eventsPerRequest });
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

export const sync: Question = {
  name: 'sync',
  asks: 'ACK=sync: the highest rate (wrk) and the latency at the goal rates (fixed-rate generator), beside a bare fdatasync of the bytes that one sync covered, same disk, same run.',
  async answer(bench) {
    // Nobody listens there: the journal holds everything, and nothing else is written.
    const away = { OUTPUTS: 'http', HTTP_SINK_URL: `http://127.0.0.1:${bench.place().port}/` };
    const starts = [
      () => startRingmain(bench.tree, bench.place(), { ack: 'sync' }),
      () =>
        startRingmain(bench.tree, bench.place(), {
          ack: 'sync',
          name: 'no file sink',
          env: { ...away, JOURNAL_MAX_BYTES: String(Math.floor(Math.min(20e9, bench.freeBytes() / 2))) },
          sinksIgnored: true,
        }),
      () => startRingmain(bench.tree, bench.place(), { ack: 'journal', name: 'journal' }),
    ];
    return bench.with(starts, async ([withFile, withoutFile, unsynced]) => {
      const { seconds } = bench;
      const collect = { connections: 64, seconds, path: '/collect' };
      const rows: { name: string; subject: Ringmain; load: Load; events: number }[] = [];
      for (const [subject, note] of [
        [withFile!, ''],
        [withoutFile!, ', no file sink'],
      ] as const) {
        rows.push(
          {
            name: `pixel, c=256, highest rate${note}`,
            subject,
            load: wrk(bench.pixels(), { connections: 256, seconds }),
            events: 1,
          },
          {
            name: `pixel, c=256, 20 k/s${note}`,
            subject,
            load: bench.openLoop(bench.pixels(), { connections: 256, seconds, rate: 20_000 }),
            events: 1,
          },
          {
            name: `/collect by 20, c=64, highest rate${note}`,
            subject,
            load: wrk(bench.collects(20), collect),
            events: 20,
          },
          {
            name: `/collect by 20, c=64, 50 k events/s${note}`,
            subject,
            load: bench.openLoop(bench.collects(20), { ...collect, rate: 2_500 }),
            events: 20,
          },
        );
      }
      rows.push(
        {
          name: 'pixel, c=8, highest rate',
          subject: withFile!,
          load: wrk(bench.pixels(), { connections: 8, seconds }),
          events: 1,
        },
        {
          name: 'ACK=journal: pixel, c=256, 20 k/s',
          subject: unsynced!,
          load: bench.openLoop(bench.pixels(), { connections: 256, seconds, rate: 20_000 }),
          events: 1,
        },
      );
      // By round: one that is repeated because something else worked takes its syncs along.
      const bares = new WeakMap<Round, BareSync>();
      const highest = rows.filter(({ load }) => load.name === 'wrk');
      await runIn([unsynced!], highest[0]!.load);
      if (!bench.short) for (const { subject, load } of highest) await warmUp(subject, load);
      for (const subject of [withFile!, withoutFile!, unsynced!]) freeze(subject);
      const results: Results = await interleave(
        rows.map(({ name, subject, load, events }) => ({
          name,
          once: () => withBareSync(bench, subject, load, events, bares),
        })),
        bench.short ? 1 : 6,
      );
      const baresOf = (name: string): BareSync[] => results.get(name)!.map((round) => bares.get(round)!);
      const table = rows.map(({ name }) => {
        const rounds = results.get(name)!;
        const bare = baresOf(name);
        const reason = voidReason(rounds);
        const theirs = median(bare.map((b) => b.p99Us));
        if (reason) return [name, `void: ${reason}`, '', '', '', '', '', '', ''];
        return [
          name,
          count(median(column(rounds, 'eventsPerSecond'))),
          us(median(column(rounds, 'cpuUsPerEvent'))),
          count(median(column(rounds, 'p50Us'))),
          count(median(column(rounds, 'p99Us'))),
          rounds.some(({ open }) => open !== undefined) ? count(median(rounds.map(servedP99Us))) : '',
          `${count(median(bare.map((b) => b.p50Us)))} / ${count(theirs)} (${count(median(bare.map((b) => b.bytes)) / 1024)} KiB)`,
          (median(rounds.map(servedP99Us)) / theirs).toFixed(1),
          `${count(median(bare.map((b) => b.groupP50Us)))} / ${count(median(bare.map((b) => b.groupP99Us)))}`,
        ];
      });
      const p99Goal = (name: string) => {
        const ratios = results.get(name)!.map((round) => servedP99Us(round) / bares.get(round)!.p99Us);
        const isVoid = voidReason(results.get(name)!) !== undefined;
        const s = spread(ratios);
        return {
          goal: `ACK=sync, p99, ${name}`,
          bound: 'most' as const,
          limit: 3,
          value: isVoid ? Number.NaN : s.median,
          unit: 'x fdatasync',
          spread: `${us(s.min)}..${us(s.max)}`,
        };
      };
      const named = (name: string): readonly Round[] | undefined => results.get(name);
      return {
        tables: [
          {
            head: [
              'load',
              'events/s',
              'CPU us/event',
              'p50 us',
              'p99 us',
              'p99 without the generator',
              'bare fdatasync p50 / p99 us',
              'p99 ratio',
              'ideal group commit p50 / p99 us',
            ],
            rows: table,
          },
          roundsTable(results),
        ],
        notes: [
          'At the highest rate a closed loop measures its own queue: with 256 requests under way the mean latency is 256 / rate, whatever the disk does. The ratio counts at the fixed rates.',
          'Without the generator: as p99, less what the generator itself was late with a request because its thread did not run. The ratio, and the goal, take that one at the fixed rates.',
          'Ideal group commit: computed from the bare syncs, what a request would wait if nothing but the syncs took time: the rest of the one that runs and all of the next.',
          'The row of ACK=journal waits for no sync. What it shows at p99 are pauses of the thread, the process and the machine, and they are in all rows.',
          'No file sink: the only sink is HTTP and its receiver is away, so nothing but the journal is written.',
        ],
        goals: [
          valueGoal(
            'ACK=sync, /collect by 20, c=64',
            'least',
            50_000,
            'events/s',
            named('/collect by 20, c=64, highest rate'),
            'eventsPerSecond',
          ),
          valueGoal(
            'ACK=sync, pixels, c=256',
            'least',
            20_000,
            'events/s',
            named('pixel, c=256, highest rate'),
            'eventsPerSecond',
          ),
          p99Goal('pixel, c=256, 20 k/s'),
          p99Goal('pixel, c=256, 20 k/s, no file sink'),
          p99Goal('/collect by 20, c=64, 50 k events/s'),
          p99Goal('/collect by 20, c=64, 50 k events/s, no file sink'),
        ],
        raw: { results: rawOf(results), bare: Object.fromEntries(rows.map(({ name }) => [name, baresOf(name)])) },
      };
    });
  },
};
