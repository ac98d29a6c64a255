/**
 * Converted events: the collector's routes in analytics. Its encoders read a request into a scratch, where every event
 * is a line of the collector; each is then converted (conversion.ts), and only the converted record goes into the lane.
 * Neither address nor cookie is ever given to the encoders.
 *
 *   /collect   an event that cannot be converted is an error of its item, like one that is not valid
 *   /px.gif    it is answered as usual, so that no page shows a broken image, and counted by its reason. While the
 *              sites are not known yet: 503, for the same image may count later
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { BatchEncoder } from '../../collect/batch-route.ts';
import { type CollectRouteValues, collectRoutes, encodersOf } from '../../collect/collect.ts';
import type { IntakeMetrics } from '../../collect/metrics.ts';
import type { PixelEncoding, PixelMade, PixelRouteDeps } from '../../collect/pixel-route.ts';
import type { BatchResult, ItemError } from '../../events/batch-result.ts';
import type { CollectEncoder, CollectResult } from '../../events/collect-encoder.ts';
import type { Draft } from '../../events/draft.ts';
import { eventErrors } from '../../events/errors.ts';
import { blankOrigin, type Origin } from '../../events/origin.ts';
import type { PixelEncoder, PixelInput } from '../../events/pixel-encoder.ts';
import { jsonLength, jsonStart, recordBytes, tsMsAt } from '../../events/record.ts';
import { keyBytes } from '../../events/record-key.ts';
import { commitRecord } from '../../events/service-record.ts';
import type { Route } from '../../http/router.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { Track } from '../../visitor/visitor.ts';
import { ANALYTICS_KIND } from '../event.ts';
import { type Converted, convert, type Unconvertible, type Via } from './conversion.ts';
import { Receipts } from './receipts.ts';
import { Scratch } from './scratch.ts';
import type { Sender, SentOrigin } from './sender.ts';
import { type SenderMeters, senderMetrics } from './visitor-metrics.ts';

export interface ConvertingOptions {
  /** MAX_EVENT_BYTES: of the converted line. */
  readonly eventBytesMax: number;
  /** How old an event may be (clock.ts). */
  readonly ageMs: number;
}

const ERRORS_MAX = 100;

/** Converts the record of the scratch and commits it. Returns its bytes in the draft, or why there are none. */
class Converter {
  readonly scratch = new Scratch();
  readonly #options: ConvertingOptions;
  readonly #via: Via;
  readonly #receipts = new Receipts();

  constructor(via: Via, options: ConvertingOptions) {
    this.#via = via;
    this.#options = options;
  }

  convert(record: number, origin: SentOrigin): Converted | Unconvertible {
    const { buffer } = this.scratch;
    const from = jsonStart(record);
    const text = buffer.toString('utf8', from, from + jsonLength(buffer, record));
    return convert(text, tsMsAt(buffer, record), this.#via, origin, this.#options.ageMs, this.#receipts);
  }

  /** Returns the bytes of the record; negative: of a line that is too large. */
  commit(draft: Draft, { line: text, key: keyText }: Converted, receivedMs: number): number {
    const line = Buffer.from(text);
    if (line.length > this.#options.eventBytesMax) return -line.length;
    const key = Buffer.from(keyText);
    commitRecord(draft, { kind: ANALYTICS_KIND, key, line, receivedMs });
    return recordBytes(line.length) + keyBytes(key);
  }
}

/** POST /collect. */
export class ConvertedBatch implements BatchEncoder<SentOrigin, BatchResult> {
  readonly #encoder: CollectEncoder;
  readonly #converter: Converter;
  readonly #options: ConvertingOptions;
  readonly #input = blankOrigin();

  constructor(encoder: CollectEncoder, options: ConvertingOptions) {
    this.#encoder = encoder;
    this.#options = options;
    this.#converter = new Converter('collect', options);
  }

  encode(draft: Draft, body: Buffer, origin: SentOrigin): BatchResult {
    const { scratch } = this.#converter;
    const input = this.#input;
    input.receivedMs = origin.receivedMs;
    input.anonymous = origin.anonymous;
    scratch.clear();
    const result = this.#encoder.encode(scratch, body, input);
    if (result.code === 'OK') this.#convert(draft, origin, result);
    return result;
  }

  #convert(draft: Draft, origin: SentOrigin, result: CollectResult): void {
    const { scratch } = this.#converter;
    const failed = result.errors;
    // The encoder lists its first hundred errors; where it has listed fewer, these are all, and every other item became
    // a record, in order.
    const added: ItemError[] = [];
    let next = 0;
    let index = -1;
    result.recordBytes = 0;
    for (const record of scratch.records) {
      index += 1;
      while (next < failed.length && failed[next]!.index === index) {
        next += 1;
        index += 1;
      }
      const error = this.#take(draft, record, origin, result);
      if (error === undefined) continue;
      result.accepted -= 1;
      result.rejected += 1;
      added.push({ index, ...error });
    }
    if (added.length > 0)
      result.errors = [...failed, ...added].sort((one, other) => one.index - other.index).slice(0, ERRORS_MAX);
  }

  #take(
    draft: Draft,
    record: number,
    origin: SentOrigin,
    result: CollectResult,
  ): Pick<ItemError, 'code' | 'message'> | undefined {
    const made = this.#converter.convert(record, origin);
    if ('reason' in made) return { code: made.code, message: made.message };
    const bytes = this.#converter.commit(draft, made, origin.receivedMs);
    if (bytes > 0) {
      result.recordBytes += bytes;
      return undefined;
    }
    const fields = { bytes: -bytes, limit: this.#options.eventBytesMax };
    return { code: 'EVENT_TOO_LARGE', message: eventErrors.EVENT_TOO_LARGE.text(fields) };
  }
}

/** GET /px.gif: who sends it, and how it becomes a record. A request is read and encoded before the next one. */
export class ConvertedPixel implements PixelEncoding {
  readonly result: { code: PixelMade['code']; mintedSid: string; mended: number } = {
    code: 'OK',
    mintedSid: '',
    mended: 0,
  };
  readonly visitor: PixelRouteDeps['visitor'];
  readonly #encoder: PixelEncoder;
  readonly #converter: Converter;
  readonly #origin: SentOrigin;
  readonly #unrecorded: SenderMeters['ringmain_unrecorded_pixels_total'];

  constructor(encoder: PixelEncoder, sender: Sender, options: ConvertingOptions, meters: SenderMeters) {
    this.#encoder = encoder;
    this.#converter = new Converter('px', options);
    this.#unrecorded = meters.ringmain_unrecorded_pixels_total;
    const origin = sender.make();
    this.#origin = origin;
    this.visitor = {
      track: (req: HttpRequest): Track => sender.track(req),
      read: (res: HttpResponse, req: HttpRequest, anonymous: boolean, nowMs: number, input: Origin) => {
        sender.read(res, req, anonymous, nowMs, origin);
        input.receivedMs = nowMs;
        input.anonymous = anonymous;
      },
      overTls: () => false,
      cookieLine: () => '',
    };
  }

  encode(draft: Draft, input: PixelInput): PixelMade {
    const { result } = this;
    const { scratch } = this.#converter;
    scratch.clear();
    const { code, mended } = this.#encoder.encode(scratch, input);
    result.code = code;
    result.mended = mended;
    if (code !== 'OK') return result;
    const made = this.#converter.convert(scratch.records[0]!, this.#origin);
    if ('reason' in made) {
      this.#unrecorded.at({ reason: made.reason }).add(1);
      result.code = made.reason === 'unavailable' ? 'UNAVAILABLE' : 'NOTHING';
    } else if (this.#converter.commit(draft, made, input.receivedMs) <= 0) result.code = 'EVENT_TOO_LARGE';
    return result;
  }
}

/** The collector's routes, whose events are those of analytics. `metrics`: the set that the role declares. */
export function convertedRoutes<S>(
  frame: AcceptorFrame<CollectRouteValues, S>,
  sender: Sender,
  ageMs: number,
  metrics: IntakeMetrics,
): readonly Route[] {
  const encoders = encodersOf(frame);
  const options = { eventBytesMax: frame.values.collect.maxEventBytes, ageMs };
  const pixel = new ConvertedPixel(encoders.pixel, sender, options, frame.meters(senderMetrics));
  const ways = {
    pixel: { visitor: pixel.visitor, encoder: pixel },
    batch: { sender, encoder: new ConvertedBatch(encoders.batch, options) },
  };
  return collectRoutes(frame, ways, metrics);
}
