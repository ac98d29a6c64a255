/**
 * The matrix: what each ACK level costs, and what it loses when the process is killed, the power fails, a sink is away, a disk is
 * full. Every cell is an experiment of rig/faults.ts with the real server and a client that knows every id it was promised.
 */
import type { Bench, Question } from '../rig/bench.ts';
import { killed, logDiskFull, powerCut, sinkAway, type Trial } from '../rig/faults.ts';
import { wrk } from '../rig/load.ts';
import type { Goal } from '../rig/report.ts';
import { type Ack, startRingmain } from '../rig/ringmain.ts';
import { column, contest, voidReason } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import { count, rawOf, us } from '../rig/table.ts';

const acks: readonly Ack[] = ['memory', 'journal', 'sync'];
/** Which faults a level promises to survive without losing an acknowledged event. */
const promises: Record<'kill' | 'power' | 'away' | 'full', readonly Ack[]> = {
  kill: ['journal', 'sync'],
  power: ['sync'],
  away: acks,
  full: acks,
};

type Fault = keyof typeof promises;
const experiments: Record<Fault, (bench: Bench, ack: Ack) => Promise<Trial>> = {
  kill: killed,
  power: powerCut,
  away: sinkAway,
  full: logDiskFull,
};
const titles: Record<Fault, string> = {
  kill: 'SIGKILL',
  power: 'power cut (modelled)',
  away: 'sink away',
  full: 'disk of the log file full',
};

function cell(trials: readonly Trial[], promised: boolean): string {
  const sum = (figure: 'stored' | 'lost' | 'doubled' | 'invented'): number =>
    trials.reduce((all, trial) => all + trial[figure], 0);
  const lost = sum('lost');
  if (trials.length === 0) return 'not tried';
  const text = `${count(lost)} of ${count(sum('stored'))} lost${lost > 0 && promised ? ' **(broken promise)**' : ''}`;
  const extra = [
    sum('doubled') > 0 ? `${sum('doubled')} doubled` : '',
    sum('invented') > 0 ? `${sum('invented')} invented` : '',
    ...new Set(trials.map((t) => t.remark)),
  ];
  return [text, ...extra.filter((part) => part !== '')].join('; ');
}

export const matrix: Question = {
  name: 'matrix',
  asks: 'Lost = acknowledged with 2xx, and not in the file after restart and delivery. Trials are added up.',
  async answer(bench) {
    const results = await bench.with(
      acks.map((ack) => () => startRingmain(bench.tree, bench.place(), { ack, name: ack })),
      (subjects) => {
        const load = wrk(bench.pixels(), { connections: 64, seconds: 1 });
        return contest(
          subjects.map((subject) => ({ name: subject.name, subject, load })),
          bench.short ? 1 : 6,
        );
      },
    );
    const faults = Object.keys(experiments) as Fault[];
    const rows: string[][] = [];
    const goals: Goal[] = [];
    const raw: Record<string, readonly Trial[]> = {};
    for (const ack of acks) {
      const rounds = results.get(ack)!;
      const middle = (figure: 'eventsPerSecond' | 'cpuUsPerEvent'): number => median(column(rounds, figure));
      const row = [
        `\`ACK=${ack}\``,
        voidReason(rounds) ?? `${count(middle('eventsPerSecond'))}/s, ${us(middle('cpuUsPerEvent'))} us`,
      ];
      for (const fault of faults) {
        const trials: Trial[] = [];
        // A short run tries each fault once with ACK=journal, and the power cut with the level that survives it.
        const isShort = ack === 'journal' || (ack === 'sync' && fault === 'power');
        const times = bench.short ? (isShort ? 1 : 0) : fault === 'kill' || fault === 'power' ? 6 : 1;
        for (let i = 0; i < times; i++) {
          trials.push(await experiments[fault](bench, ack));
          console.error(`  ${ack}, ${titles[fault]}: ${JSON.stringify(trials.at(-1))}`);
        }
        const promised = promises[fault].includes(ack);
        row.push(cell(trials, promised));
        raw[`${ack} ${fault}`] = trials;
        if (promised && trials.length > 0) {
          const broken = trials.reduce((sum, trial) => sum + trial.lost + trial.doubled + trial.invented, 0);
          goals.push({
            goal: `ACK=${ack}: lost, doubled or invented by ${titles[fault]}`,
            bound: 'most',
            limit: 0,
            value: broken,
            unit: 'events',
          });
        }
      }
      rows.push(row);
    }
    return {
      tables: [{ head: ['', 'pixels, c=64', ...faults.map((fault) => titles[fault])], rows }],
      notes: [
        'Power cut: journal and file lie on an ext4 of their own (loop device); the cut is SIGKILL and in the same moment EXT4_IOC_SHUTDOWN without a log flush, then unmount, mount, restart. What was only in the page cache is gone. A disk that lies about its own cache is not modelled.',
        'Sink away: the receiver of the HTTP sink refuses connections during 1.5 s of intake; then it is back, and found at the next try of a back-off that doubles. Disk full: LOG_PATH on a tmpfs that fills up while the quota of the journal still has room, then runs into the quota (429), then space is made.',
      ],
      goals,
      raw: { throughput: rawOf(results), trials: raw },
    };
  },
};
