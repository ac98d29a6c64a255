/** What does the client's address cost: from a trusted proxy's header, from the socket? And a first visit? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import type { PixelOptions } from '../rig/request.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest } from '../rig/rounds.ts';
import { ratioGoal, ratioOf, rawOf, roundsTable, withSpread } from '../rig/table.ts';

export const address: Question = {
  name: 'address',
  asks: 'Where the client address comes from, and what issuing a sid adds; ACK=journal, c=64; wrk.',
  async answer(bench) {
    const starts = [
      () => startNginx(bench.place()),
      () => startRingmain(bench.tree, bench.place(), { trustProxy: true }),
      () => startRingmain(bench.tree, bench.place(), { trustProxy: false }),
    ];
    return bench.with(starts, async ([nginx, behindProxy, direct]) => {
      const load = (options: PixelOptions) => wrk(bench.pixels(options), { connections: 64, seconds: bench.seconds });
      const results = await contest(
        [
          { name: 'nginx, X-Forwarded-For', subject: nginx!, load: load({ forwarded: true }) },
          { name: 'ringmain, X-Forwarded-For', subject: behindProxy!, load: load({ forwarded: true }) },
          { name: 'nginx, socket', subject: nginx!, load: load({}) },
          { name: 'ringmain, socket', subject: direct!, load: load({}) },
          { name: 'nginx, first visit', subject: nginx!, load: load({ forwarded: true, cookie: false }) },
          { name: 'ringmain, first visit', subject: behindProxy!, load: load({ forwarded: true, cookie: false }) },
        ],
        bench.rounds,
      );
      const ratio = (kind: string): string[] => [
        kind,
        withSpread(ratioOf(results.get(`ringmain, ${kind}`)!, results.get(`nginx, ${kind}`)!)),
      ];
      return {
        tables: [
          {
            head: ['request', 'ringmain x nginx, CPU per event'],
            rows: ['X-Forwarded-For', 'socket', 'first visit'].map(ratio),
          },
          roundsTable(results),
        ],
        notes: ['nginx issues no sid; on a first visit it only lacks the cookie.'],
        goals: [
          ratioGoal(
            'pixel, ACK=journal, c=64, address from the socket',
            1,
            results,
            'ringmain, socket',
            'nginx, socket',
          ),
          ratioGoal(
            'pixel, ACK=journal, c=64, first visit (a sid is issued)',
            undefined,
            results,
            'ringmain, first visit',
            'nginx, first visit',
          ),
        ],
        raw: rawOf(results),
      };
    });
  },
};
