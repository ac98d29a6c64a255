/**
 * Events encoder: turns the body of one POST /events, an event object or an array of them, into records of analytics in
 * the draft. Like the encoder of /collect it scans the body once and copies what it found, in the order of event.ts.
 * The table in event-reader.ts says how each member of an item is read. The encoder adds:
 *
 *   event_id      a new id when absent
 *   timestamp     the time of receipt when absent
 *   received_at   the time of receipt, with a sequence behind the ms (receipts.ts)
 *   visitor       of an event without user_id
 *   country, region, device, browser, os, bot   what the request says (origin.ts)
 *   via           events
 *
 * The key of a record is `site_id:user_id`, else `site_id:visitor`, so that a visitor's events stay in order. An event
 * of nobody (do not track) has its id there: such events need no order, and may lie on all partitions.
 */
import { type BatchLimits, BatchReader, DEPTH_MAX } from '../../events/batch-reader.ts';
import type { BatchResult } from '../../events/batch-result.ts';
import type { Draft } from '../../events/draft.ts';
import { eventErrors } from '../../events/errors.ts';
import type { Invalid } from '../../events/item-reader.ts';
import { SLACK, tailMask, viewOf } from '../../events/json-text.ts';
import { UUID_TEXT_BYTES, type UuidMaker } from '../../kernel/ids.ts';
import { DAY_MS, dayOf } from '../dimensions.ts';
import { limits } from '../event.ts';
import { firstMsOf } from '../processor/clock.ts';
import { E, FIELDS, pageSet, utmSet, whoSet } from './event-plan.ts';
import { EventReader } from './event-reader.ts';
import { EventWriter, FIXED_BYTES } from './event-writer.ts';
import type { EventOrigin } from './origin.ts';

export interface EventsOptions extends BatchLimits {
  /** MAX_EVENT_BYTES: the longest line, without its newline. */
  readonly eventBytesMax: number;
  /** How old a timestamp may be, ms; Infinity: any (clock.ts). */
  readonly ageMs: number;
  /** One maker per thread, shared by its encoders. */
  readonly ids: UuidMaker;
}

/** One object per encoder; the next call overwrites it. */
export interface EventsResult extends BatchResult {
  /** The body is one event and no array. */
  one: boolean;
}

const ROOT = 0x2f;
const VISITOR_CHARS = 32;

export class EventsEncoder extends BatchReader<EventOrigin, EventsResult> {
  readonly #item: EventReader;
  readonly #writer: EventWriter;
  readonly #eventBytesMax: number;
  /** The site of the last item, its bytes and as a string; '' for none. */
  readonly #siteBytes = Buffer.alloc(4 * limits.siteId + SLACK);
  readonly #siteView = viewOf(this.#siteBytes);
  #siteLength = 0;
  #site = '';
  /** What the request says of this site: whether it may write; the visitor of the day below, as text. */
  #admitted = false;
  /** How many days the site keeps its events, and the first ms of those that it takes. */
  #retentionDays = Number.POSITIVE_INFINITY;
  #firstMs = Number.NEGATIVE_INFINITY;
  readonly #visitor = Buffer.alloc(VISITOR_CHARS + SLACK);
  readonly #visitorView = viewOf(this.#visitor);
  #visitorLength = 0;
  #visitorDay = Number.NaN;
  /** False: the next item asks the request again. */
  #asked = false;

  constructor(options: EventsOptions) {
    const mended = new Int32Array(FIELDS);
    const counts = { accepted: 0, rejected: 0, errors: [], recordBytes: 0, mendedSet: 0, mended };
    super({ code: 'OK', ...counts, offset: 0, reason: '', found: '', one: false }, options);
    const { eventBytesMax, ageMs, ids, depthMax = DEPTH_MAX } = options;
    this.#item = new EventReader(this.scanner, depthMax, ageMs);
    this.#writer = new EventWriter(eventBytesMax, ids);
    this.#eventBytesMax = eventBytesMax;
  }

  protected override take(body: Buffer, { receivedMs }: EventOrigin): void {
    const bodyEnd = 1 + body.length;
    const arena = bodyEnd + SLACK;
    this.reserve(arena + 2 * body.length + SLACK);
    const { text, view } = this;
    text[0] = ROOT;
    body.copy(text, 1);
    text.fill(0, bodyEnd, arena);
    this.bodyFrom = 1;
    this.result.one = false;
    this.#asked = false;
    this.scanner.use(text, view);
    this.#item.use(text, view, 0, arena, receivedMs);
    this.#writer.begin(receivedMs);
  }

  protected override object(draft: Draft, origin: EventOrigin, p: number): number {
    this.result.one = true;
    return this.item(draft, origin, p, 0);
  }

  protected override item(draft: Draft, origin: EventOrigin, p: number, index: number): number {
    const item = this.#item;
    const end = item.scan(p);
    if (end < 0) return -1;
    const invalid = item.settle();
    if (invalid !== undefined) {
      this.#invalid(index, invalid);
      return end;
    }
    this.#meet(origin);
    if (this.#admitted) {
      if (!item.slots.has(E.timestamp) || item.timestampMs >= this.#firstMs)
        return this.#write(draft, origin, index, p, end);
      this.#invalid(index, item.tooOld(this.#retentionDays * DAY_MS));
      return end;
    }
    if (this.reject()) {
      const { code, message } = origin.grant!.refusal(this.#site);
      this.list(index, code, message, item.eventId());
    }
    return end;
  }

  #write(draft: Draft, origin: EventOrigin, index: number, start: number, end: number): number {
    const { text, view } = this;
    const { anonymous, traits } = origin;
    const writer = this.#writer;
    const item = this.#item;
    const { slots } = item;
    const { from, to } = slots;
    if (anonymous) slots.drop(E.user_id);
    // Each byte of the item stands in the line at most once, but for what is read from url; props may get quotes.
    let bound = FIXED_BYTES + (end - start) + item.extraBytes + traits.length;
    if (!item.props.clean && slots.has(E.props)) bound += to[E.props]! - from[E.props]!;
    writer.open(draft, bound);
    if (!slots.has(E.event_id)) writer.newId();
    else if (!writer.givenId(text, from[E.event_id]!, to[E.event_id]!)) {
      this.#invalid(index, item.invalidId());
      return end;
    }
    writer.texts(text, view, slots, slots.present & whoSet);
    const timed = slots.has(E.timestamp);
    if (timed) writer.timestamp(item, text, view, from[E.timestamp]!, to[E.timestamp]!);
    else writer.now();
    writer.receipt();
    const known = slots.has(E.user_id);
    const visitor =
      known || anonymous ? 0 : this.#visitorOf(origin, dayOf(timed ? item.timestampMs : origin.receivedMs));
    if (visitor !== 0) writer.visitor(this.#visitor, this.#visitorView, visitor);
    writer.texts(text, view, slots, slots.present & pageSet);
    if (slots.has(E.props)) {
      if (item.props.clean) writer.json(E.props, text, view, from[E.props]!, to[E.props]!);
      else writer.props(item.props);
    }
    writer.texts(text, view, slots, slots.present & utmSet);
    writer.members(traits);
    if (!writer.end()) {
      if (this.reject()) {
        const fields = { bytes: writer.jsonBytes, limit: this.#eventBytesMax };
        this.list(index, 'EVENT_TOO_LARGE', eventErrors.EVENT_TOO_LARGE.text(fields), item.eventId());
      }
      return end;
    }
    const siteFrom = from[E.site_id]!;
    const siteTo = to[E.site_id]!;
    if (known) writer.key(text, view, siteFrom, siteTo, text, view, from[E.user_id]!, to[E.user_id]!);
    else if (visitor !== 0) writer.key(text, view, siteFrom, siteTo, this.#visitor, this.#visitorView, 0, visitor);
    else {
      const { idAt } = writer;
      writer.key(text, view, siteFrom, siteTo, writer.buffer, writer.view, idAt, idAt + UUID_TEXT_BYTES);
    }
    return this.accept(writer.close(draft), item.mended, end);
  }

  /** Turns to the site of the item. Most bodies are of one site, and most of the next one are, too. */
  #meet(origin: EventOrigin): void {
    const { text } = this;
    const { slots } = this.#item;
    const from = slots.from[E.site_id]!;
    const length = slots.to[E.site_id]! - from;
    const bytes = this.#siteBytes;
    const same = length === this.#siteLength && areEqual(this.#siteView, 0, this.view, from, length);
    if (same && this.#asked) return;
    if (!same) {
      text.copy(bytes, 0, from, from + length);
      this.#siteLength = length;
      this.#site = text.toString('utf8', from, from + length);
    }
    this.#asked = true;
    this.#visitorDay = Number.NaN;
    const { grant, receivedMs } = origin;
    this.#admitted = grant === undefined || grant.admits(this.#site);
    this.#retentionDays = grant?.retentionDays(this.#site) ?? Number.POSITIVE_INFINITY;
    this.#firstMs = firstMsOf(this.#retentionDays, receivedMs);
  }

  /** Length of the visitor's text, 0 for none. */
  #visitorOf(origin: EventOrigin, day: number): number {
    if (day !== this.#visitorDay) {
      this.#visitorDay = day;
      this.#visitorLength = this.#visitor.write(origin.visitorOf(this.#site, day), 'latin1');
    }
    return this.#visitorLength;
  }

  #invalid(index: number, invalid: Invalid): void {
    if (this.reject()) {
      this.list(index, 'INVALID_EVENT', eventErrors.INVALID_EVENT.text(invalid), this.#item.eventId());
    }
  }
}

/** Whether `length` bytes are the same; may read up to three bytes past them. */
function areEqual(one: DataView, from: number, other: DataView, otherFrom: number, length: number): boolean {
  for (let i = 0; i < length; i += 4) {
    if (((one.getInt32(from + i, true) ^ other.getInt32(otherFrom + i, true)) & tailMask(length - i)) !== 0)
      return false;
  }
  return true;
}
