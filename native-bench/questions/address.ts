/** What does the client's address cost: from one proxy's header, from a list of proxies, from the socket? And a first visit? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx, trustedProxies } from '../rig/peers.ts';
import type { PixelOptions } from '../rig/request.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest } from '../rig/rounds.ts';
import type { Subject } from '../rig/subject.ts';
import { ratioGoal, ratioOf, rawOf, roundsTable, withSpread } from '../rig/table.ts';
import { lastLines } from '../rig/tail.ts';

/** A row is worth something only when both sides store the same address: that of the request's header, or that of the load's socket. */
function checkAddress({ name, logs }: Subject, expected: RegExp): void {
  const { ip } = JSON.parse(lastLines(logs[0]!, 4096).at(-1)!) as { ip: string };
  if (!expected.test(ip)) throw new Error(`${name} must log the client's address: expected=${expected}, found=${ip}`);
}
const ofHeader = /^203\.\d+\.113\.\d+$/;
const ofSocket = /^127\.0\.0\.1$/;

type Six = [Subject, Subject, Subject, Subject, Subject, Subject];

export const address: Question = {
  name: 'address',
  asks: 'Where the client address comes from, and what issuing a sid adds; ACK=journal, c=64; wrk.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place(), 'proxy'),
      () => startRingmain(bench.tree, bench.place(), { trustProxy: true }),
      () => startNginx(bench.place(), 'list'),
      () => startRingmain(bench.tree, bench.place(), { trustProxy: trustedProxies.join() }),
      () => startNginx(bench.place(), 'nobody'),
      () => startRingmain(bench.tree, bench.place(), { trustProxy: false }),
    ];
    return bench.with(starts, async (subjects) => {
      const [nginx, behindProxy, nginxList, behindList, nginxDirect, direct] = subjects as Six;
      const load = (options: PixelOptions) => wrk(bench.pixels(options), { connections: 64, seconds: bench.seconds });
      const results = await contest(
        [
          { name: 'nginx, X-Forwarded-For', subject: nginx, load: load({ forwarded: true }) },
          { name: 'ringmain, X-Forwarded-For', subject: behindProxy, load: load({ forwarded: true }) },
          { name: 'nginx, list of proxies', subject: nginxList, load: load({ forwarded: true }) },
          { name: 'ringmain, list of proxies', subject: behindList, load: load({ forwarded: true }) },
          { name: 'nginx, socket', subject: nginxDirect, load: load({}) },
          { name: 'ringmain, socket', subject: direct, load: load({}) },
          { name: 'nginx, first visit', subject: nginx, load: load({ forwarded: true, cookie: false }) },
          { name: 'ringmain, first visit', subject: behindProxy, load: load({ forwarded: true, cookie: false }) },
        ],
        bench.rounds,
      );
      for (const subject of [nginx, behindProxy, nginxList, behindList]) checkAddress(subject, ofHeader);
      for (const subject of [nginxDirect, direct]) checkAddress(subject, ofSocket);
      const ratio = (kind: string): string[] => [
        kind,
        withSpread(ratioOf(results.get(`ringmain, ${kind}`)!, results.get(`nginx, ${kind}`)!)),
      ];
      return {
        tables: [
          {
            head: ['request', 'ringmain x nginx, CPU per event'],
            rows: ['X-Forwarded-For', 'list of proxies', 'socket', 'first visit'].map(ratio),
          },
          roundsTable(results),
        ],
        notes: [
          "nginx takes the address from X-Forwarded-For with its real-IP module, which is off in the row 'socket'. It issues no sid; on a first visit it only lacks the cookie.",
          `List of proxies: both believe ${trustedProxies.join(' and ')} and take the first other address from the right; ours needs the peer's address and all lines of the header for that, so every header crosses over from the addon.`,
        ],
        goals: [
          ratioGoal(
            'pixel, ACK=journal, c=64, address from the socket',
            1,
            results,
            'ringmain, socket',
            'nginx, socket',
          ),
          ratioGoal(
            'pixel, ACK=journal, c=64, address by a list of trusted proxies',
            undefined,
            results,
            'ringmain, list of proxies',
            'nginx, list of proxies',
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
