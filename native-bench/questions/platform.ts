/** What do the crossings between JavaScript and the addon cost: the part of an event that no code of ours can make cheaper? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx, startUws } from '../rig/peers.ts';
import { contest } from '../rig/rounds.ts';
import type { Subject } from '../rig/subject.ts';
import { rawOf, roundsTable } from '../rig/table.ts';

const variants: Readonly<Record<string, Record<string, string>>> = {
  'floor: query, 4 headers read, 2 written': {},
  '9 headers read': { READS: '9' },
  '5 headers written, one by one': { HEADERS: 'five' },
  '5 headers written in one call': { HEADERS: 'joined' },
  'answered from setImmediate': { DEFER: '1' },
  'peer address from the socket': { ADDRESS: '1' },
  '9 headers read, 5 written in one call': { READS: '9', HEADERS: 'joined' },
  'the same, constant names and values as bytes': { READS: '9', HEADERS: 'joined', TEXTS: 'bytes' },
  'what a pixel needs: that, answered from setImmediate': {
    READS: '9',
    HEADERS: 'joined',
    TEXTS: 'bytes',
    DEFER: '1',
  },
};

const shortVariants = Object.fromEntries([Object.entries(variants)[0]!, Object.entries(variants).at(-1)!]);

export const platform: Question = {
  name: 'platform',
  asks: 'Bare uWebSockets.js without any logging, one thing changed per row; 64 connections, wrk.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      ...Object.entries(bench.short ? shortVariants : variants).map(([name, env]) => async () => ({
        ...(await startUws(bench.place(), env)),
        name,
      })),
    ];
    return bench.with(starts, async (subjects) => {
      const load = wrk(bench.pixels(), { connections: 64, seconds: 1 });
      const results = await contest(
        subjects.map((subject) => ({ name: subject.name, subject, load })),
        bench.rounds,
      );
      return { tables: [roundsTable(results, { baseline: 'nginx' })], raw: rawOf(results) };
    });
  },
};
