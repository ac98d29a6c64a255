/** How far do more acceptors carry: measured on two cores, computed beyond. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { parseStat, usPerTick } from '../rig/proc.ts';
import { type Ringmain, startRingmain } from '../rig/ringmain.ts';
import { column, contest } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import { freeze, loadCore, serverCore, thaw, untilWritten } from '../rig/subject.ts';
import { count, ratioGoal, rawOf, roundsTable, us } from '../rig/table.ts';

/** CPU us per thread of a process, largest first. */
function threadCpuUs(pid: number): Map<number, number> {
  const tasks = readdirSync(`/proc/${pid}/task`).map((task) =>
    parseStat(readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8')),
  );
  return new Map(tasks.map((stat) => [stat.pid, stat.ticks * usPerTick()]));
}

/** What each thread used per event, largest first: the acceptor, then sink, keeper and the rest. */
async function perThread(server: Ringmain, requestFile: string, seconds: number): Promise<number[]> {
  thaw(server);
  const before = threadCpuUs(server.pid);
  const reply = await wrk(requestFile, { connections: 64, seconds }).run(server.url);
  await untilWritten(server.logs);
  const after = threadCpuUs(server.pid);
  freeze(server);
  return [...after].map(([task, cpu]) => (cpu - (before.get(task) ?? 0)) / reply.answered).sort((a, b) => b - a);
}

export const scaling: Question = {
  name: 'scaling',
  asks: 'More acceptors on one core and on two (does an acceptor make the others dearer?), and what one event costs each thread; ACK=journal, c=64; wrk.',
  async answer(bench) {
    const counts = [1, 2, 4];
    const server = (n: number, where: string, core: number | string) => () =>
      startRingmain(bench.tree, bench.place(), {
        name: `ringmain, ${n} acceptor${n > 1 ? 's' : ''}${where}`,
        env: { ACCEPTORS: String(n) },
        core,
      });
    const both = [1, 2].map((n) => server(n, ' on both cores', `${serverCore},${loadCore}`));
    const starts = [...counts.map((n) => server(n, '', serverCore)), ...both];
    return bench.with(starts, async (subjects) => {
      const load = wrk(bench.pixels(), { connections: 64, seconds: 1 });
      const results = await contest(
        subjects.map((subject) => ({ name: subject.name, subject, load })),
        bench.rounds,
      );
      const threads = await perThread(subjects[0]!, bench.pixels(), bench.short ? 1 : 5);
      const [acceptor, ...others] = threads as [number, ...number[]];
      const sink = others[0] ?? 0;
      const rest = others.reduce((sum, value) => sum + value, 0);
      const cost = (i: number): number => median(column(results.get(subjects[i]!.name)!, 'cpuUsPerEvent'));
      const growth = cost(2) / cost(0);
      const crowding = cost(4) / cost(3);
      const cores = [2, 4, 8, 16];
      // A core for every acceptor; sinks and keeper share the last one. The busiest thread of all of them is the limit.
      const model = cores.map((n) => {
        const acceptors = n - 1;
        const byAcceptors = (acceptors * 1e6) / acceptor;
        const bySink = 1e6 / sink;
        const byLastCore = 1e6 / rest;
        const crowded = acceptors > 1 ? byAcceptors / crowding : byAcceptors;
        const limit = Math.min(crowded, bySink, byLastCore);
        const name =
          limit === crowded
            ? 'acceptors'
            : limit === bySink
              ? 'the thread of the file sink'
              : 'the core of sinks and keeper';
        return [
          `${n} cores, ${acceptors} acceptor${acceptors > 1 ? 's' : ''}`,
          count(byAcceptors),
          count(crowded),
          count(bySink),
          count(byLastCore),
          `${count(limit)} (${name})`,
        ];
      });
      return {
        tables: [
          roundsTable(results, { title: 'Measured: acceptors that share one core, or both with the load' }),
          {
            title: 'Measured: CPU of the threads of one event, one acceptor',
            head: ['acceptor', 'largest other (the sink or the keeper)', 'all others together'],
            rows: [[us(acceptor), us(sink), us(rest)]],
          },
          {
            title: 'Computed from these, not measured: pixel events/s that the threads allow',
            head: [
              'machine',
              'acceptors allow, each as dear as one alone',
              'each as dear as two on two cores',
              'file sink allows',
              'last core allows',
              'limit',
            ],
            rows: model,
          },
        ],
        notes: [
          `Four acceptors on one core cost ${growth.toFixed(2)} x of one, per event. Two acceptors on two cores cost ${crowding.toFixed(2)} x of one on both (the load runs there too). The limit takes that for all of them, for they share the sink's thread and the keeper; the model knows nothing of memory bandwidth, network interrupts, or a disk that is full of work.`,
          'On both cores the acceptors compete with the load generator: read the CPU per event, not the rate. It shows what it costs that threads on two cores write to lanes that one sink and one keeper read.',
        ],
        goals: [
          ratioGoal(
            'two acceptors on two cores beside one: CPU per event',
            undefined,
            results,
            'ringmain, 2 acceptors on both cores',
            'ringmain, 1 acceptor on both cores',
          ),
        ],
        raw: { results: rawOf(results), threads },
      };
    });
  },
};
