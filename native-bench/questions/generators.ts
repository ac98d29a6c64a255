/** Do wrk and autocannon see the same costs? */
import type { Question } from '../rig/bench.ts';
import { autocannon, wrk } from '../rig/load.ts';
import { startNginx, startUws } from '../rig/peers.ts';
import { pixelRequests } from '../rig/request.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest } from '../rig/rounds.ts';
import { ratioGoal, ratioOf, rawOf, roundsTable, withSpread } from '../rig/table.ts';

export const generators: Question = {
  name: 'generators',
  asks: 'The main rows once more, by wrk and by autocannon, 64 connections.',
  async answer(bench) {
    const starts = [
      () => startNginx(bench.place()),
      () => startUws(bench.place()),
      () => startRingmain(bench.tree, bench.place()),
    ];
    return bench.with(starts, async (subjects) => {
      const options = { connections: 64, seconds: 1 };
      const loads = [wrk(bench.pixels(), options), autocannon(pixelRequests({ forwarded: true }), options)];
      const entries = subjects.flatMap((subject) =>
        loads.map((load) => ({ name: `${subject.name}, ${load.name}`, subject, load })),
      );
      const results = await contest(entries, bench.rounds);
      const rows = loads.map(({ name }) => [
        name,
        ...['uws', 'ringmain journal'].map((s) =>
          withSpread(ratioOf(results.get(`${s}, ${name}`)!, results.get(`nginx, ${name}`)!)),
        ),
      ]);
      return {
        tables: [{ head: ['generator', 'uws x nginx', 'ringmain x nginx'], rows }, roundsTable(results)],
        notes: [
          'autocannon saturates its own core before the servers saturate theirs: an unsaturated server finds fewer requests per wake-up, so its cost per event is higher, for all of them alike. Compare the ratios, not the rates; its latencies have a resolution of 1 ms.',
        ],
        goals: loads.map(({ name }) =>
          ratioGoal(
            `pixel, ACK=journal, c=64, by ${name}`,
            undefined,
            results,
            `ringmain journal, ${name}`,
            `nginx, ${name}`,
          ),
        ),
        raw: rawOf(results),
      };
    });
  },
};
