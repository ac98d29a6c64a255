/** Does an acceptor make the others dearer: more of them on one core, and on two? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest } from '../rig/rounds.ts';
import { loadCore, serverCore } from '../rig/subject.ts';
import { ratioGoal, rawOf, roundsTable } from '../rig/table.ts';

const nameOf = (n: number, where: string): string => `ringmain, ${n} acceptor${n > 1 ? 's' : ''}${where}`;
const onBoth = ' on both cores';

export const scaling: Question = {
  name: 'scaling',
  asks: 'More acceptors on one core and on two; ACK=journal, c=64; wrk.',
  async answer(bench) {
    const server = (n: number, where: string, core: number | string) => () =>
      startRingmain(bench.tree, bench.place(), { name: nameOf(n, where), env: { ACCEPTORS: String(n) }, core });
    const starts = [
      ...[1, 2, 4].map((n) => server(n, '', serverCore)),
      ...[1, 2].map((n) => server(n, onBoth, `${serverCore},${loadCore}`)),
    ];
    return bench.with(starts, async (subjects) => {
      const load = wrk(bench.pixels(), { connections: 64, seconds: 1 });
      const entries = subjects.map((subject) => ({ name: subject.name, subject, load }));
      const results = await contest(entries, bench.rounds);
      return {
        tables: [roundsTable(results)],
        notes: [
          'On both cores the acceptors compete with the load generator: read the CPU per event, not the rate. It shows what it costs that threads on two cores write to lanes that one sink and one keeper read.',
        ],
        goals: [
          ratioGoal(
            'two acceptors on two cores beside one: CPU per event',
            undefined,
            results,
            nameOf(2, onBoth),
            nameOf(1, onBoth),
          ),
          ratioGoal('four acceptors on one core beside one', undefined, results, nameOf(4, ''), nameOf(1, '')),
        ],
        raw: rawOf(results),
      };
    });
  },
};
