/** What does an event cost by POST /collect, in batches of 20 and alone? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startUws } from '../rig/peers.ts';
import { barPlot } from '../rig/plot.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest } from '../rig/rounds.ts';
import { cpuBars, ratioGoal, rawOf, roundsTable, valueGoal } from '../rig/table.ts';

const path = '/collect';

export const collect: Question = {
  name: 'collect',
  asks: 'POST /collect: batches of 20 events (8.7 KB) and one event per body, 64 connections; wrk.',
  async answer(bench) {
    const starts = [
      () => startUws(bench.place()),
      ...(bench.short ? (['memory', 'journal'] as const) : (['memory', 'journal', 'sync'] as const)).map(
        (ack) => () => startRingmain(bench.tree, bench.place(), { ack }),
      ),
    ];
    return bench.with(starts, async (subjects) => {
      const options = { connections: 64, seconds: bench.seconds, path };
      const batch = wrk(bench.collects(20), options);
      const single = wrk(bench.collects(1), options);
      const journal = subjects[2]!;
      const results = await contest(
        [
          ...subjects.map((subject) => ({
            name: `${subject.name}, 20 per body`,
            subject,
            load: batch,
            eventsPerRequest: 20,
          })),
          ...subjects.map((subject) => ({ name: `${subject.name}, 1 per body`, subject, load: single })),
          {
            name: 'ringmain journal, pixel',
            subject: journal,
            load: wrk(bench.pixels(), { ...options, path: '/px.gif' }),
          },
        ],
        bench.rounds,
      );
      return {
        tables: [roundsTable(results)],
        plots: [
          {
            name: 'collect',
            alt: 'CPU per event by POST /collect',
            svg: barPlot('CPU per event, POST /collect', 'us', cpuBars(results)),
          },
        ],
        notes: ['uws receives the body and answers 202, no more: the floor.'],
        goals: [
          valueGoal(
            '/collect, batches of 20, ACK=journal',
            'most',
            2.5,
            'us/event',
            results.get('ringmain journal, 20 per body'),
            'cpuUsPerEvent',
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
