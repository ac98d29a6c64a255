/** What do rotation, segment changes, syncs and garbage collection do to the latency, each shown apart? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { linePlot } from '../rig/plot.ts';
import type { Goal } from '../rig/report.ts';
import { type RingmainOptions, startRingmain } from '../rig/ringmain.ts';
import { column, contest, openColumn, type Results, type Round, runIn, spreadOf, voidReason } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import { count, rawOf, withSpread } from '../rig/table.ts';

const allVariants: readonly (RingmainOptions & { name: string })[] = [
  { name: 'as delivered (sync every 10 ms)' },
  { name: 'log file rotated about every second', env: { LOG_ROTATE_MB: '16MiB', LOG_BACKUPS: '0' } },
  { name: 'segments of 8 MiB: a new one twice a second', env: { SEGMENT_BYTES: '8MiB' } },
  { name: 'sync every 1 ms', env: { SYNC_INTERVAL_MS: '1' } },
  { name: 'sync every 100 ms', env: { SYNC_INTERVAL_MS: '100' } },
  { name: 'young generation of 1 MiB: many small GCs', nodeFlags: ['--max-semi-space-size=1'] },
  { name: 'journal off (no disk on the way of an answer)', ack: 'memory', env: { JOURNAL_DIR: 'off' } },
];
const rate = 30_000;
const rounds = 5;
/** As long as three rotations take. */
const seconds = 3;
const head = [
  '',
  'p50 us',
  'p99 us',
  'p99.9 us (min..max)',
  'p99.99 us',
  'max us of all rounds',
  'generator late, p99.9 us',
  'p99.9 us without it',
];

function rowOf(name: string, measured: readonly Round[]): string[] {
  const reason = voidReason(measured);
  if (reason !== undefined) return [name, `void: ${reason}`, ...Array<string>(head.length - 2).fill('')];
  return [
    name,
    count(median(column(measured, 'p50Us'))),
    count(median(column(measured, 'p99Us'))),
    withSpread(spreadOf(measured, 'p999Us'), count),
    count(median(openColumn(measured, 'p9999Us'))),
    count(spreadOf(measured, 'maxUs').max),
    count(median(openColumn(measured, 'lateP999Us'))),
    count(median(openColumn(measured, 'servedP999Us'))),
  ];
}

function goalOf(name: string, measured: readonly Round[]): Goal {
  const { median: value, min, max } = spreadOf(measured, 'p999Us');
  return {
    goal: `latency at 30 k/s, ${name.split(/[:(]/)[0]!.trim()}: p99.9`,
    bound: 'most',
    value: voidReason(measured) === undefined ? value : Number.NaN,
    unit: 'us',
    spread: `${count(min)}..${count(max)}`,
  };
}

/** The last round of the first three rows, over time. */
function plotOf(results: Results): string {
  const lines = ['as delivered', 'rotation', 'small segments'].map((label, i) => ({
    label,
    points: (results.get(allVariants[i]!.name)!.at(-1)!.open?.timeline ?? []).map(
      (slice) => [slice.ms / 1000, slice.maxUs] as const,
    ),
  }));
  return linePlot('Largest latency per 100 ms', { x: 'seconds', y: 'us', linearX: true }, lines);
}

/** Timelines are in the plot; thousands of their figures would bury the others. */
const withoutTimelines = (results: Results): Results =>
  new Map(
    [...results].map(([name, measured]) => [
      name,
      measured.map(({ open, ...round }): Round => {
        if (open === undefined) return round;
        const { timeline: _, ...figures } = open;
        return { ...round, open: figures };
      }),
    ]),
  );

export const disturbances: Question = {
  name: 'disturbances',
  asks: `${rate.toLocaleString('en')} pixels/s over 64 connections, ACK=journal, fixed-rate generator; one thing changed per row.`,
  async answer(bench) {
    const variants = bench.short ? allVariants.slice(0, 3) : allVariants;
    return bench.with(
      variants.map((variant) => () => startRingmain(bench.tree, bench.place(), variant)),
      async (subjects) => {
        await runIn(subjects, wrk(bench.pixels(), { connections: 64, seconds: bench.short ? 1 : 4 }));
        const load = bench.openLoop(bench.pixels(), {
          connections: 64,
          rate,
          seconds: bench.short ? 1 : seconds,
          timelineMs: 100,
        });
        const entries = subjects.map((subject) => ({ name: subject.name, subject, load }));
        const results = await contest(entries, bench.short ? 1 : rounds);
        const svg = plotOf(results);
        return {
          tables: [{ head, rows: [...results].map(([name, measured]) => rowOf(name, measured)) }],
          plots: [{ name: 'disturbances', alt: 'Largest latency per 100 ms', svg }],
          notes: [
            `Medians over ${bench.short ? 1 : rounds} rounds of ${bench.short ? 1 : seconds} s, (smallest..largest) for p99.9. A row is void when a request failed or a line is missing. Generator late, and what is left without it: see the notes of the table of latencies.`,
          ],
          goals: [...results].map(([name, measured]) => goalOf(name, measured)),
          raw: rawOf(withoutTimelines(results)),
        };
      },
    );
  },
};
