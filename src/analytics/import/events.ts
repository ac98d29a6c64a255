/**
 * Events of imported lines: each becomes a line of the contract and is read by the code that reads records of the topic
 * (processor/record-line.ts), so that the same rules hold for it.
 *
 * The visitor of a line is a hash of a random salt of the import, the day, the address and the user agent: no address
 * is stored, and once the import has ended and its salt is deleted, none can be found by trying all of them.
 */
import { createHmac } from 'node:crypto';
import { foreignBytes, putForeign } from '../../events/foreign.ts';
import { dayOf } from '../dimensions.ts';
import { type AnalyticsEvent, utmKeys } from '../event.ts';
import { Agents } from '../intake/agents.ts';
import { digestId, exactly, RecordReader } from '../processor/record-line.ts';
import { rejections } from '../processor/rejections.ts';
import { type Hit, readCombined } from './combined.ts';

export interface Imported {
  /** By what it is known when it comes again. */
  readonly line: string;
  readonly event: AnalyticsEvent;
  /** The id stood in the line: the event may have been sent as well. */
  readonly named: boolean;
}

/** Undefined: the line is no event (an asset, a redirection, an empty line). A text: why it is bad. */
export type Read = Imported | undefined | string;

export interface EventsOptions {
  readonly siteId: string;
  /** `sites.site`: a line of two sites is two lines. */
  readonly site: number;
  readonly salt: Buffer;
  /** How old a timestamp may be, ms. */
  readonly ageMsMax: number;
  /** Older events are refused, ms since 1970: the site keeps them no more. */
  readonly keptFromMs: number;
  /** Asked for each line: a log is written to while it is imported, and its last lines are younger than the import. */
  readonly now: () => number;
}

/** Lines whose occurrences are counted at one time; equal lines of a log stand close together. */
const RECENT_MAX = 200_000;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const VISITOR_CHARS = 32;
const nobody = { add: () => {} };

export class EventLines {
  readonly #options: EventsOptions;
  readonly #agents = new Agents('pages', { hits: nobody, misses: nobody });
  readonly #reader: RecordReader;
  #buffer = Buffer.alloc(4096);
  /** How often a line has stood in this file; the oldest first. */
  readonly #recent = new Map<string, number>();

  constructor(options: EventsOptions) {
    this.#options = options;
    const { ageMsMax } = options;
    this.#reader = new RecordReader({ topics: [], lineBytesMax: Number.POSITIVE_INFINITY, ageMsMax });
  }

  /** The next file: equal lines of two files are one, since a log may lie there twice, also packed. */
  nextFile(): void {
    this.#recent.clear();
  }

  combined(text: string): Read {
    if (text === '') return undefined;
    const hit = readCombined(text);
    if (typeof hit !== 'object') return hit;
    return this.#event(text, this.#ofHit(hit));
  }

  json(text: string): Read {
    if (text.trim() === '') return undefined;
    let value: unknown;
    try {
      value = exactly(text, JSON.parse(text));
    } catch {
      return 'the line must be JSON';
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return rejections.not_object;
    // Who took it, and which visitor it was, are of another installation.
    const { received_at: _, ip, user_agent: agent, ...event } = value as Record<string, unknown>;
    if (event['timestamp'] === undefined || event['timestamp'] === null) return rejections.timestamp;
    const timeMs = Date.parse(String(event['timestamp']));
    const address = typeof ip === 'string' ? ip : '';
    const browser = typeof agent === 'string' ? agent : '';
    if (address !== '' || browser !== '') Object.assign(event, this.#who(address, browser, timeMs));
    return this.#event(text, { ...event, site_id: this.#options.siteId });
  }

  #ofHit({ address, timeMs, path, query, referrer, agent }: Hit): Record<string, unknown> {
    const parameters = query.includes('utm_') ? new URLSearchParams(query) : undefined;
    const campaign = utmKeys.map((key) => [key, parameters?.get(key) ?? undefined] as const);
    return {
      site_id: this.#options.siteId,
      event_type: 'page_view',
      path,
      timestamp: new Date(timeMs).toISOString(),
      url: query === '' ? undefined : `${path}?${query}`,
      referrer,
      ...Object.fromEntries(campaign),
      ...this.#who(address, agent, timeMs),
    };
  }

  /** Device, browser and system, or the bot; and the visitor. */
  #who(address: string, agent: string, timeMs: number): Record<string, unknown> {
    const traits = JSON.parse(`{${this.#agents.traitsOf(agent).toString()}}`) as Record<string, unknown>;
    const key = `${dayOf(timeMs)}\0${address}\0${agent}`;
    const visitor = createHmac('sha256', this.#options.salt).update(key).digest('hex').slice(0, VISITOR_CHARS);
    return { ...traits, visitor };
  }

  #event(text: string, event: Record<string, unknown>): Read {
    const { site, now, keptFromMs } = this.#options;
    const nowMs = now();
    const given = event['event_id'];
    const named = typeof given === 'string' && UUID.test(given);
    const place = ['import', site];
    let line: string;
    if (named) line = given.toLowerCase();
    else if (given !== undefined && given !== null) return rejections.event_id;
    else line = digestId([...place, this.#occurrence(digestId(place, Buffer.from(text)))], Buffer.from(text));
    const value = Buffer.from(JSON.stringify({ ...event, event_id: line }));
    const bytes = foreignBytes(value, undefined);
    if (bytes > this.#buffer.length) this.#buffer = Buffer.alloc(2 * bytes);
    putForeign(this.#buffer, 0, value, undefined, nowMs, { topic: 0, partition: 0, offset: 0 }, true);
    const read = this.#reader.read(this.#buffer, 0, nowMs);
    if ('reason' in read) return rejections[read.reason];
    if (read.event.timestampMs < keptFromMs) return rejections.too_old;
    return { line, event: { ...read.event, via: 'import' }, named };
  }

  #occurrence(digest: string): number {
    const before = this.#recent.get(digest) ?? 0;
    this.#recent.delete(digest);
    this.#recent.set(digest, before + 1);
    if (this.#recent.size > RECENT_MAX) this.#recent.delete(this.#recent.keys().next().value!);
    return before;
  }
}
