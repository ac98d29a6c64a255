/** What does one pixel event cost, beside nginx, nginx with Lua, Benthos, bare uWebSockets.js and GoTrack? */
import type { Bench, Question } from '../rig/bench.ts';
import { autocannon, wrk } from '../rig/load.ts';
import { libraryVersion } from '../rig/machine.ts';
import { benthosBinary, hasGotrack, startBenthos, startGotrack, startNginx, startUws } from '../rig/peers.ts';
import { barPlot } from '../rig/plot.ts';
import { pixelRequests } from '../rig/request.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest, type Results } from '../rig/rounds.ts';
import type { Subject } from '../rig/subject.ts';
import { cpuBars, ratioGoal, rawOf, roundsTable, valueGoal } from '../rig/table.ts';
import { lastLines } from '../rig/tail.ts';

const remarks = {
  nginx: 'parses nothing, log not durable',
  'nginx with Lua': 'makes our line, log not durable',
  benthos: 'makes our line, answers after the write',
  uws: 'floor: writes nothing',
  'ringmain memory': 'answered before the write',
  'ringmain journal': 'survives kill -9',
  'ringmain sync': 'survives a power cut',
  gotrack: 'syncs every event',
};

const wanted = ['e', 'event_id', 'ip', 'props.plan', 'props.screen', 'props.v', 'ref', 'sid', 'ts', 'ua', 'uid', 'url'];
const campaign = ['utm.campaign', 'utm.medium', 'utm.source'];

/** A peer is one only when its line says what ours says: the last whole line, against the fields of our request. */
function checkLine({ name, logs }: Subject): void {
  const line = JSON.parse(lastLines(logs[0]!, 8192).at(-1)!) as Record<string, unknown>;
  const found = Object.entries(line).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null ? Object.keys(value).map((inner) => `${key}.${inner}`) : [key],
  );
  if (found.sort().join() !== [...wanted, ...campaign].join())
    throw new Error(`${name} must log the line of a pixel: wanted=${[...wanted, ...campaign]}, found=${found}`);
}
const sameJob = ['nginx with Lua', 'benthos', 'ringmain journal'];

/** With 8 connections: what the goals there need. */
const few = ['nginx', 'nginx with Lua', 'ringmain memory', 'ringmain journal'];

function starts(bench: Bench): (() => Promise<Subject>)[] {
  const benthos = benthosBinary(bench.binaries);
  return [
    () => startNginx(bench.place()),
    () => startNginx(bench.place(), { lua: true }),
    ...(benthos ? [() => startBenthos(bench.place(), benthos)] : []),
    () => startUws(bench.place()),
    ...(hasGotrack() ? [() => startGotrack(bench.place())] : []),
    ...(['memory', 'journal', ...(hasGotrack() ? (['sync'] as const) : [])] as const).map(
      (ack) => () => startRingmain(bench.tree, bench.place(), { ack }),
    ),
  ];
}

export const pixel: Question = {
  name: 'pixel',
  asks: 'One pixel event: ten parameters, the headers of Chrome, sid cookie, client address from X-Forwarded-For; wrk unless it says autocannon.',
  async answer(bench) {
    return bench.with(starts(bench), async (subjects) => {
      const { seconds } = bench;
      const by = (load: ReturnType<typeof wrk>, names?: readonly string[]): Promise<Results> =>
        contest(
          subjects
            .filter(({ name }) => names?.includes(name) ?? true)
            .map((subject) => ({ name: subject.name, subject, load })),
          bench.rounds,
        );
      const many = await by(wrk(bench.pixels(), { connections: 64, seconds }));
      const eight = await by(wrk(bench.pixels(), { connections: 8, seconds }), few);
      const cannon = await by(autocannon(pixelRequests({ forwarded: true }), { connections: 64, seconds }), [
        'nginx with Lua',
        'ringmain journal',
      ]);
      for (const subject of subjects) if (sameJob.includes(subject.name)) checkLine(subject);
      const ours = 'ringmain journal';
      const headline = true;
      const table = (results: Results, title: string, baseline = 'nginx') =>
        roundsTable(results, { title, baseline, remarks });
      const svg = barPlot('CPU per pixel event, 64 connections', 'us', cpuBars(many));
      return {
        tables: [
          table(many, '64 connections'),
          table(eight, '8 connections'),
          table(cannon, '64 connections, by autocannon', 'nginx with Lua'),
        ],
        plots: [{ name: 'pixel', alt: 'CPU per pixel event', svg }],
        notes: [
          'autocannon saturates its own core before the servers saturate theirs: they find fewer requests per wake-up, and each costs more, for all of them alike. Compare its rows with each other only.',
        ],
        goals: [
          valueGoal('pixel, ACK=journal, c=64', undefined, 'us/event', many.get(ours), 'cpuUsPerEvent', { headline }),
          ratioGoal('the same beside nginx with Lua', 0.85, many, ours, 'nginx with Lua', { headline }),
          ratioGoal('the same beside nginx with Lua, c=8', 0.9, eight, ours, 'nginx with Lua', { headline }),
          ratioGoal('the same beside nginx that parses nothing', 1.2, many, ours, 'nginx', { headline }),
          ratioGoal('the same beside nginx that parses nothing, c=8', 1.25, eight, ours, 'nginx', { headline }),
          ratioGoal('the same beside Benthos', undefined, many, ours, 'benthos', { headline }),
          ratioGoal('pixel, ACK=journal, c=64, by autocannon', undefined, cannon, ours, 'nginx with Lua'),
          ratioGoal('rate of one acceptor on one core, c=64', 1, many, ours, 'nginx with Lua', {
            figure: 'eventsPerSecond',
            bound: 'least',
          }),
          ratioGoal('ACK=journal beside ACK=memory, c=64', 1.1, many, ours, 'ringmain memory', { headline }),
          ratioGoal('ACK=journal beside ACK=memory, c=8', 1.15, eight, ours, 'ringmain memory'),
          ...(hasGotrack()
            ? (['sync', 'journal'] as const).map((ack) =>
                ratioGoal(`pixel, ACK=${ack}, c=64, beside GoTrack`, undefined, many, `ringmain ${ack}`, 'gotrack'),
              )
            : []),
        ],
        versions: [libraryVersion('autocannon'), 'Benthos 4.60.0'],
        raw: { c64: rawOf(many), c8: rawOf(eight), autocannon: rawOf(cannon) },
      };
    });
  },
};
