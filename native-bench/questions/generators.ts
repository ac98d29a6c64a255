/**
 * Do wrk and autocannon see the same costs?
 *
 * Not as they are: autocannon saturates its own core first, and a server that is asked less finds fewer requests per wake-up. So our own
 * generator runs at the very rate that autocannon has just reached with the same subject: then the costs must agree. It does so twice, once
 * with requests one by one, once in bursts: an event loop sends the next requests of all answers that one of its turns has found, and how
 * many the server finds at once is the other half of what an event costs. Our journal tells how many that are: it has a write(2) per turn.
 */
import type { Bench, Question } from '../rig/bench.ts';
import { autocannon, type Load, type Moments, type Reply, wrk } from '../rig/load.ts';
import { libraryVersion } from '../rig/machine.ts';
import { startNginx, startUws } from '../rig/peers.ts';
import type { Goal } from '../rig/report.ts';
import { pixelRequests } from '../rig/request.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest, type Entry, type Results, spreadOf } from '../rig/rounds.ts';
import type { Subject } from '../rig/subject.ts';
import { ratioGoal, ratioOf, rawOf, roundsTable, withSpread } from '../rig/table.ts';

/** With so many requests at a time the server finds about as many per turn as with autocannon; the table shows whether it does. */
const burst = 8;
const options = { connections: 64, seconds: 1 };

const oneByOne = "fixed, autocannon's rate";
const inBursts = `fixed, autocannon's rate, bursts of ${burst}`;
const nearLimit = 'fixed, 95 % of the rate of wrk';

/** Runs the fixed-rate generator at the rates that other loads have reached. */
class Pace {
  readonly #rates = new Map<string, number>();

  /** A load whose rate is remembered for those that follow it. */
  lead(subject: Subject, load: Load): Entry {
    const run: Load['run'] = async (url, moments) => {
      const reply = await load.run(url, moments);
      this.#rates.set(`${subject.name}, ${load.name}`, reply.answered / (reply.durationUs / 1e6));
      return reply;
    };
    return { name: `${subject.name}, ${load.name}`, subject, load: { ...load, run } };
  }

  /** At a share of the rate that `leader` has just had with this subject. */
  follow(bench: Bench, name: string, subject: Subject, leader: string, share: number, atOnce: number): Entry {
    const requests = bench.pixels();
    const at = (): number => share * this.#rates.get(`${subject.name}, ${leader}`)!;
    const now = () => bench.openLoop(requests, { ...options, rate: at(), burst: atOnce });
    const fixed = bench.openLoop(requests, { ...options, rate: 1 }); // all but the rate is known by now
    return {
      name: `${subject.name}, ${name}`,
      subject,
      load: { ...fixed, name, run: (url, moments) => now().run(url, moments as Moments<Reply>) },
    };
  }
}

/** The larger of the median ratio and its inverse: 1 is agreement, whoever is dearer. */
function agreement(results: Results, subject: Subject, follower: string, limit?: number): Goal {
  const [a, b] = ['autocannon', follower].map((name) => results.get(`${subject.name}, ${name}`)!);
  const ratio = ratioOf(a!, b!); // NaN when a row is void
  return {
    goal: `autocannon beside the fixed-rate generator at the same rate${follower === inBursts ? ` in bursts of ${burst}` : ''}: CPU per event, ${subject.name}`,
    ...(limit === undefined ? {} : { limit }),
    value: Math.max(ratio.median, 1 / ratio.median),
    unit: 'x',
    bound: 'most',
    spread: `ratio ${withSpread(ratio)}`,
  };
}

export const generators: Question = {
  name: 'generators',
  asks: 'The main rows once more, by wrk, by autocannon, and by our fixed-rate generator at the rates that these have just reached; 64 connections.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      () => startUws(bench.place()),
      () => startRingmain(bench.tree, bench.place()),
    ];
    return bench.with(starts, async (subjects) => {
      const [nginx, uws, ours] = subjects as [Subject, Subject, Subject];
      const pace = new Pace();
      const closed = [wrk(bench.pixels(), options), autocannon(pixelRequests({ forwarded: true }), options)];
      const entries = [nginx, uws, ours].flatMap((subject) => [
        ...closed.map((load) => pace.lead(subject, load)),
        ...(subject === uws
          ? []
          : [
              pace.follow(bench, oneByOne, subject, 'autocannon', 1, 1),
              pace.follow(bench, inBursts, subject, 'autocannon', 1, burst),
              pace.follow(bench, nearLimit, subject, 'wrk', 0.95, 1),
            ]),
      ]);
      const results = await contest(entries, bench.rounds);
      const beside = (a: Subject, b: Subject, name: string): string =>
        withSpread(ratioOf(results.get(`${a.name}, ${name}`)!, results.get(`${b.name}, ${name}`)!));
      const perWrite = (name: string): string =>
        withSpread(spreadOf(results.get(`${ours.name}, ${name}`)!, 'requestsPerWrite'));
      const rows = [...closed.map(({ name }) => name), oneByOne, inBursts, nearLimit].map((name) => [
        name,
        results.has(`${uws.name}, ${name}`) ? beside(uws, nginx, name) : '',
        beside(ours, nginx, name),
        perWrite(name),
      ]);
      const head = ['generator', 'uws x nginx', 'ringmain x nginx', "ringmain's requests per write(2)"];
      return {
        tables: [{ head, rows }, roundsTable(results)],
        notes: [
          'autocannon saturates its own core before the servers saturate theirs: an unsaturated server finds fewer requests per wake-up, so its cost per event is higher, for all of them alike. Compare its rows with those of the same rate, not with those of wrk; its latencies have a resolution of 1 ms.',
          'Requests per write(2): journal and file together. Who sends one by one at the same rate lets the server find fewer at once than autocannon does, and pays for it.',
        ],
        goals: [
          ...closed.map(({ name }) =>
            ratioGoal(
              `pixel, ACK=journal, c=64, by ${name}`,
              undefined,
              results,
              `ringmain journal, ${name}`,
              `nginx, ${name}`,
            ),
          ),
          ...[nginx, ours].flatMap((subject) => [
            agreement(results, subject, inBursts, 1.15),
            agreement(results, subject, oneByOne),
          ]),
        ],
        versions: [libraryVersion('autocannon')],
        raw: rawOf(results),
      };
    });
  },
};
