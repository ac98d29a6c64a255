/** What does a request cost over 10,000 open connections, each of which asks every 5 s? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest, runIn } from '../rig/rounds.ts';
import type { Subject } from '../rig/subject.ts';
import { ratioGoal, rawOf, roundsTable, valueGoal } from '../rig/table.ts';

export const crowd: Question = {
  name: 'crowd',
  asks: '2,000 requests/s over 10,000 connections in turn (one every 5 s each) beside the same rate over 64; ACK=journal.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      () => startRingmain(bench.tree, bench.place()),
    ];
    return bench.with(starts, async (subjects) => {
      await runIn(subjects, wrk(bench.pixels(), { connections: 64, seconds: bench.short ? 1 : 4 }));
      const seconds = bench.short ? 2 : 6; // every connection gets its turn
      const over = (connections: number) => bench.openLoop(bench.pixels(), { connections, rate: 2000, seconds });
      const crowdSize = bench.short ? 2_000 : 10_000;
      const entries = subjects.flatMap((subject) => [
        { name: `${subject.name}, 64`, subject, load: over(64) },
        { name: `${subject.name}, ${crowdSize}`, subject, load: over(crowdSize) },
      ]);
      const results = await contest(entries, bench.short ? 1 : 6);
      const goals = [
        ratioGoal(
          '10,000 connections beside 64 at the same rate',
          1.3,
          results,
          `ringmain journal, ${crowdSize}`,
          'ringmain journal, 64',
        ),
        valueGoal(
          `RSS with ${crowdSize.toLocaleString('en')} connections`,
          'most',
          150e6 / 2 ** 20,
          'MiB',
          results.get(`ringmain journal, ${crowdSize}`),
          'rssMiB',
        ),
      ];
      return { tables: [roundsTable(results)], goals, raw: rawOf(results) };
    });
  },
};
