/**
 * What is lost when: a row per fault, with what each level of ACK promises for it. losses.test.ts does to the real server what a row
 * says, and compares what came to the file; PERFORMANCE.md shows the rows (`npm run docs`), so the page says what the tests prove.
 */
import { markdownTable } from '../../src/kernel/markdown.ts';

export const levels = ['memory', 'journal', 'sync'] as const;
export type Level = (typeof levels)[number];

/** The word that a test holds to the event: acknowledged, and not in the file after a start and the delivery of all that is owed. */
export const nothing = 'nothing';

export interface Loss {
  readonly fault: 'kill' | 'power' | 'away' | 'full';
  readonly what: string;
  readonly lost: Readonly<Record<Level, string>>;
}

const toAll = (lost: string): Loss['lost'] => ({ memory: lost, journal: lost, sync: lost });
/** How much a power cut may cost where a 2xx does not wait for the disk. */
const sinceSync = 'up to `SYNC_INTERVAL_MS` and one sync';

export const losses: readonly Loss[] = [
  {
    fault: 'kill',
    what: '`kill -9` under load',
    lost: { memory: 'up to one turn of the event loop', journal: nothing, sync: nothing },
  },
  {
    fault: 'power',
    what: 'power cut under load (the disk forgets all that was not synced)',
    lost: { memory: sinceSync, journal: sinceSync, sync: nothing },
  },
  { fault: 'away', what: 'the receiver of a sink is away, then back', lost: toAll(nothing) },
  {
    fault: 'full',
    what: 'the disk of the log file is full, then has space',
    lost: toAll(nothing),
  },
];

export function lossTable(): string {
  const head = ['what happens after a 2xx', ...levels.map((level) => `lost with \`ACK=${level}\``)];
  return markdownTable(
    head,
    losses.map(({ what, lost }) => [
      what,
      ...levels.map((level) => (lost[level] === nothing ? `**${nothing}**` : lost[level])),
    ]),
  );
}
