/** What does an event cost by POST /collect, in batches of 20 and alone? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startUws } from '../rig/peers.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest } from '../rig/rounds.ts';
import type { Subject } from '../rig/subject.ts';
import { ratioGoal, rawOf, roundsTable, valueGoal } from '../rig/table.ts';

export const collect: Question = {
  name: 'collect',
  asks: 'POST /collect: batches of 20 events (8.7 KB) and one event per body, 64 connections; wrk.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startUws(bench.place()),
      () => startRingmain(bench.tree, bench.place()),
    ];
    return bench.with(starts, async (subjects) => {
      const options = { connections: 64, seconds: bench.seconds, path: '/collect' };
      const kinds = [
        { of: '20 per body', load: wrk(bench.collects(20), options), eventsPerRequest: 20 },
        { of: '1 per body', load: wrk(bench.collects(1), options), eventsPerRequest: 1 },
        { of: 'pixel', load: wrk(bench.pixels(), { ...options, path: '/px.gif' }), eventsPerRequest: 1 },
      ];
      const results = await contest(
        kinds.flatMap(({ of, ...kind }) =>
          subjects.map((subject) => ({ name: `${subject.name}, ${of}`, subject, ...kind })),
        ),
        bench.rounds,
      );
      return {
        tables: [roundsTable(results)],
        notes: ['uws receives the body and answers 202, no more: the floor.'],
        goals: [
          valueGoal(
            '/collect, batches of 20, ACK=journal',
            2.5,
            'us/event',
            results.get('ringmain journal, 20 per body'),
            'cpuUsPerEvent',
            { headline: true },
          ),
          ratioGoal(
            '/collect, one event per body, beside the pixel',
            1.3,
            results,
            'ringmain journal, 1 per body',
            'ringmain journal, pixel',
          ),
        ],
        raw: rawOf(results),
      };
    });
  },
};
