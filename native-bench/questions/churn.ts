/** What does a connection per request cost, and what does TLS? */
import type { Question } from '../rig/bench.ts';
import { buildGo } from '../rig/install.ts';
import { tlsChurn, wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest } from '../rig/rounds.ts';
import type { Subject } from '../rig/subject.ts';
import { ratioGoal, ratioOf, rawOf, roundsTable, withSpread } from '../rig/table.ts';

export const churn: Question = {
  name: 'churn',
  asks: 'A connection per request (fixed-rate generator, 5,000/s), TLS 1.3 kept alive (wrk), a full TLS handshake per request (load/tls-churn, 16 at a time); ACK=journal, 64 connections.',
  async answer(bench) {
    const tls = bench.certificate();
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      () => startRingmain(bench.tree, bench.place()),
      () => startNginx(bench.place(tls)),
      () => startRingmain(bench.tree, bench.place(tls)),
    ];
    return bench.with(starts, async ([nginx, ours, nginxTls, oursTls]) => {
      const options = { connections: 64, seconds: bench.seconds };
      const closing = bench.pixels({ forwarded: true, close: true });
      const anew = bench.openLoop(closing, { ...options, rate: 5000, churn: true });
      const keep = wrk(bench.pixels(), options);
      const handshake = tlsChurn(closing, {
        ...options,
        connections: 16,
        binary: buildGo('load/tls-churn', bench.binaries),
      });
      const results = await contest(
        [
          { name: 'nginx, connection per request', subject: nginx!, load: anew },
          { name: 'ringmain, connection per request', subject: ours!, load: anew },
          { name: 'nginx, TLS', subject: nginxTls!, load: keep },
          { name: 'ringmain, TLS', subject: oursTls!, load: keep },
          { name: 'nginx, TLS handshake per request', subject: nginxTls!, load: handshake },
          { name: 'ringmain, TLS handshake per request', subject: oursTls!, load: handshake },
        ],
        bench.rounds,
      );
      const kinds = ['connection per request', 'TLS', 'TLS handshake per request'];
      const ratios = kinds.map((kind) => [
        kind,
        withSpread(ratioOf(results.get(`ringmain, ${kind}`)!, results.get(`nginx, ${kind}`)!)),
      ]);
      return {
        tables: [{ head: ['', 'ringmain x nginx, CPU per event'], rows: ratios }, roundsTable(results)],
        goals: kinds.map((kind) =>
          ratioGoal(`pixel, ACK=journal, ${kind}`, undefined, results, `ringmain, ${kind}`, `nginx, ${kind}`),
        ),
        raw: rawOf(results),
      };
    });
  },
};
