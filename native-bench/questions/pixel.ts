/** What does one pixel event cost, beside nginx, bare uWebSockets.js, node:http, Go and GoTrack? */
import type { Bench, Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { hasGotrack, startGoPixel, startGotrack, startNginx, startNodeHttp, startUws } from '../rig/peers.ts';
import { barPlot } from '../rig/plot.ts';
import type { Table } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest, type Results } from '../rig/rounds.ts';
import type { Subject } from '../rig/subject.ts';
import { cpuBars, ratioGoal, ratioOf, rawOf, roundsTable, withSpread } from '../rig/table.ts';

const remarks = {
  nginx: 'parses nothing, log not durable',
  uws: 'floor: writes nothing',
  'ringmain memory': 'answered before the write',
  'ringmain journal': 'survives kill -9',
  'ringmain sync': 'survives a power cut',
  'ringmain journal, reused segments':
    'as after the first JOURNAL_RETAIN_MS or gigabytes: nothing is filled with zeros any more',
  gotrack: 'syncs every event',
};

/** Delivered segments are reused at once, so that a short run shows what a long one settles at. */
const reused = { JOURNAL_RETAIN_MS: '0', SEGMENT_BYTES: '16MiB' };

export const pixel: Question = {
  name: 'pixel',
  asks: 'One pixel event: ten parameters, the headers of Chrome, sid cookie, client address from X-Forwarded-For; wrk.',
  async answer(bench) {
    return bench.with(starts(bench), async (subjects) => {
      const at = (connections: number, without: readonly string[] = []): Promise<Results> => {
        const load = wrk(bench.pixels(), { connections, seconds: bench.seconds });
        return contest(
          subjects
            .filter(({ name }) => !without.includes(name))
            .map((subject) => ({ name: subject.name, subject, load })),
          bench.rounds,
        );
      };
      const many = await at(64);
      // ACK=sync with few connections is a row of the question about ACK=sync.
      const eight = await at(8, [
        ...['node-http', 'go-pixel', 'gotrack', 'ringmain sync'],
        ...(bench.short ? ['uws'] : []),
      ]);
      return {
        tables: [
          roundsTable(many, { title: '64 connections', baseline: 'nginx', remarks }),
          roundsTable(eight, { title: '8 connections', baseline: 'nginx', remarks }),
          ...(hasGotrack() ? [besideGotrack(many)] : []),
        ],
        plots: [
          {
            name: 'pixel',
            alt: 'CPU per pixel event',
            svg: barPlot('CPU per pixel event, 64 connections', 'us', cpuBars(many)),
          },
        ],
        goals: [
          ratioGoal('pixel, ACK=journal, c=64, address from the proxy', 0.9, many, 'ringmain journal', 'nginx'),
          ratioGoal('pixel, ACK=journal, c=8', 1.1, eight, 'ringmain journal', 'nginx'),
          ratioGoal('rate of one acceptor on one core, c=64', 1, many, 'ringmain journal', 'nginx', {
            figure: 'eventsPerSecond',
            bound: 'least',
          }),
          ratioGoal('ACK=journal beside ACK=memory, c=64', 1.1, many, 'ringmain journal', 'ringmain memory'),
          ratioGoal('ACK=journal beside ACK=memory, c=8', 1.15, eight, 'ringmain journal', 'ringmain memory'),
          ...(hasGotrack()
            ? (['sync', 'journal'] as const).map((ack) =>
                ratioGoal(`pixel, ACK=${ack}, c=64, beside GoTrack`, undefined, many, `ringmain ${ack}`, 'gotrack'),
              )
            : []),
        ],
        raw: { c8: rawOf(eight), c64: rawOf(many) },
      };
    });
  },
};

/** Its log sink syncs every event: what it does is nearest to ACK=sync. ACK=journal, our default, promises less. */
function besideGotrack(results: Results): Table {
  const theirs = results.get('gotrack')!;
  return {
    title: 'Beside GoTrack, 64 connections',
    head: ['', 'x gotrack, CPU per event', 'x gotrack, events/s'],
    rows: (['ringmain sync', 'ringmain journal'] as const).map((name) => [
      `${name} (${remarks[name]})`,
      withSpread(ratioOf(results.get(name)!, theirs)),
      withSpread(ratioOf(results.get(name)!, theirs, 'eventsPerSecond')),
    ]),
  };
}

function starts(bench: Bench): (() => Promise<Subject>)[] {
  return [
    () => startNginx(bench.place()),
    () => startUws(bench.place()),
    () => startNodeHttp(bench.place()),
    () => startGoPixel(bench.place(), bench.binaries),
    ...(hasGotrack() ? [() => startGotrack(bench.place())] : []),
    ...(['memory', 'journal', 'sync'] as const).map((ack) => () => startRingmain(bench.tree, bench.place(), { ack })),
    ...(bench.short
      ? []
      : [() => startRingmain(bench.tree, bench.place(), { name: 'ringmain journal, reused segments', env: reused })]),
  ];
}
