/** What the live view keeps of an event, read from its line (event.ts). */
import { engagedMs } from '../event.ts';

/** Plain data: an event of a person, and who it was. */
export interface Seen {
  readonly siteId: string;
  readonly atMs: number;
  readonly eventType: string;
  readonly path: string | null;
  readonly country: string | null;
  readonly device: string | null;
  /** '' when nobody is known. */
  readonly who: string;
  /** It says how long somebody looked: it shows that he is there, and nothing else. */
  readonly sign: boolean;
}

/** What is older is not now. */
export const WINDOW_MS = 5 * 60_000;
const SHOWN_MAX = 300;

const text = (value: unknown): string | null =>
  typeof value === 'string' && value !== '' ? value.slice(0, SHOWN_MAX) : null;

/**
 * Undefined: a bot's, no line of an event, or one of long ago that somebody sends now, such as a history. `atMs`: when it
 * came.
 */
export function seenOf(line: string, atMs: number): Seen | undefined {
  let found: Readonly<Record<string, unknown>>;
  try {
    found = JSON.parse(line) as typeof found;
  } catch {
    return undefined;
  }
  if (typeof found !== 'object' || found === null || found['bot'] !== undefined) return undefined;
  const [siteId, eventType] = [found['site_id'], found['event_type']];
  if (typeof siteId !== 'string' || typeof eventType !== 'string') return undefined;
  const { timestamp } = found;
  if (typeof timestamp === 'string' && Date.parse(timestamp) < atMs - WINDOW_MS) return undefined;
  return {
    siteId,
    atMs,
    eventType,
    path: text(found['path']),
    country: text(found['country']),
    device: text(found['device']),
    who: text(found['user_id']) ?? text(found['visitor']) ?? '',
    sign: engagedMs(eventType, found['props'] as Readonly<Record<string, unknown>> | null | undefined) > 0,
  };
}
