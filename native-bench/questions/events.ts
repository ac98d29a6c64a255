/** What does an event cost by POST /events, beside POST /collect with a body of the same shape? */
import { join } from 'node:path';
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startPeer } from '../rig/peers.ts';
import { collectRequests, eventsRequests } from '../rig/request.ts';
import { contest } from '../rig/rounds.ts';
import { ratioGoal, rawOf, roundsTable } from '../rig/table.ts';

const script = join(import.meta.dirname, '..', 'peers/intake.ts');
/** The reach of POST /events. */
const RATIO_MAX = 1.15;
const sizes = [20, 1] as const;

export const events: Question = {
  name: 'events',
  asks: 'POST /events beside POST /collect: the same values in arrays of 20 and one by one, 64 connections; wrk. Both routes run over a lane that forgets.',
  async answer(bench) {
    const start = (route: 'collect' | 'events') => () => {
      const place = bench.place();
      const env = { ROUTE: route, PORT: String(place.port) };
      return startPeer(route, place, { command: process.execPath, args: [script], env, cwd: bench.tree }, []);
    };
    return bench.with([start('collect'), start('events')], async ([collect, analytics]) => {
      const options = { connections: 64, seconds: bench.seconds };
      const results = await contest(
        sizes.flatMap((size) => {
          const collects = bench.requests(`same-collect-${size}`, () => collectRequests(size));
          const same = bench.requests(`same-events-${size}`, () => eventsRequests(size));
          return [
            {
              name: `/collect, ${size} per body`,
              subject: collect!,
              load: wrk(collects, { ...options, path: '/collect' }),
              eventsPerRequest: size,
            },
            {
              name: `/events, ${size} per body`,
              subject: analytics!,
              load: wrk(same, { ...options, path: '/events' }),
              eventsPerRequest: size,
            },
          ];
        }),
        bench.rounds,
      );
      return {
        tables: [roundsTable(results)],
        notes: [
          '/events also asks who it was: device, browser and system of the User-Agent, which /collect keeps as it is.',
        ],
        goals: sizes.map((size) =>
          ratioGoal(
            `/events beside /collect, ${size} per body`,
            RATIO_MAX,
            results,
            `/events, ${size} per body`,
            `/collect, ${size} per body`,
            { headline: true },
          ),
        ),
        raw: rawOf(results),
      };
    });
  },
};
