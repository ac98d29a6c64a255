/**
 * What the tests of the sinks share: records as they lie in a lane, and a plain loop that delivers a lane the way the
 * runner does (in flight, chained, following moved cursors, halving refused batches).
 */
import { createHash } from 'node:crypto';
import { CursorMoved, type ErrorClass, type SinkBatch, type SinkTarget } from '../../src/delivery/contract.ts';
import type { Mark } from '../../src/engine/checkpoint.ts';
import { type LaneId, laneKey } from '../../src/engine/segment.ts';
import { packRecords } from '../../src/events/record.ts';

/** A target and how its kind classifies errors. */
export interface Subject extends SinkTarget {
  readonly classify: (error: unknown) => ErrorClass;
}

export const LANE: LaneId = { life: 1, lane: 0 };

export interface TestEvent {
  readonly id: string;
  readonly ts: number;
  readonly line: string;
}

/** An id that is the same for the same number, so that a test can say which one is missing. */
export function idOf(number: number): string {
  const hex = createHash('md5').update(`event ${number}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}

export function event(number: number, more: { id?: string; props?: string; ts?: number } = {}): TestEvent {
  const id = more.id ?? idOf(number);
  const ts = more.ts ?? Date.UTC(2026, 10, 21) + number;
  const line = `{"event_id":"${id}","ts":"${new Date(ts).toISOString()}","e":"view","utm":{},"geo":{},"props":${more.props ?? `{"n":${number}}`}}`;
  return { id, ts, line };
}

export function events(count: number, first = 0): TestEvent[] {
  return Array.from({ length: count }, (_, index) => event(first + index));
}

/** A lane: each event is one record; positions count the bytes of the records, record numbers the events. */
export class TestLane {
  readonly id: LaneId;
  readonly events: TestEvent[];
  readonly #buffer: Buffer;
  readonly #offsets: Int32Array;

  constructor(list: TestEvent[], id: LaneId = LANE) {
    this.id = id;
    this.events = list;
    const { buffer, offsets } = packRecords(list.map(({ line, ts }) => ({ line: Buffer.from(line), receivedMs: ts })));
    this.#buffer = buffer;
    this.#offsets = Int32Array.from([...offsets, buffer.length]);
  }

  mark(record: number): Mark {
    return { position: this.#offsets[record]!, record };
  }

  /** The batch of the events [from, to). It has a copy of its own, that the caller may spoil afterwards. */
  batch(from: number, to: number, commit = true): SinkBatch {
    const begin = this.#offsets[from]!;
    const offsets = this.#offsets.slice(from, to).map((offset) => offset - begin);
    const buffer = Buffer.from(this.#buffer.subarray(begin, this.#offsets[to]!));
    const positions = Float64Array.from(this.#offsets.slice(from, to));
    return {
      lane: this.id,
      count: to - from,
      buffer,
      offsets,
      positions,
      from: this.mark(from),
      to: this.mark(to),
      commit,
    };
  }
}

export interface DeliverResult {
  /** Numbers of the events that were refused for good, one by one. */
  readonly refused: number[];
  /** Verdicts met on the way. */
  readonly verdicts: string[];
}

export interface DeliverOptions {
  readonly batch?: number;
  readonly from?: number;
  /** Where to end instead of the lane's end. */
  readonly to?: number;
  /** Give up when this much time has passed. */
  readonly withinMs?: number;
  /** Called before each batch is handed over. */
  readonly before?: (from: number) => void | Promise<void>;
}

/** Delivers the lane to its end: `inFlightMax` batches at a time, the whole chain again after a failure. */
export async function deliver(target: Subject, lane: TestLane, options: DeliverOptions = {}): Promise<DeliverResult> {
  const { batch: size = 100, withinMs = 20_000 } = options;
  const refused: number[] = [];
  const verdicts: string[] = [];
  const endMs = Date.now() + withinMs;
  if (options.from === undefined) await claim(target, verdicts, endMs);
  const end = options.to ?? lane.events.length;
  for (let done = options.from ?? 0; done < end; ) {
    if (Date.now() > endMs)
      throw new Error(`not delivered in ${withinMs} ms: at ${done} of ${end}, ${verdicts.slice(-3).join(' | ')}`);
    let previous = Promise.resolve();
    const writes: { from: number; to: number; write: Promise<void> }[] = [];
    for (let from = done; from < end && writes.length < target.inFlightMax; from += size) {
      const to = Math.min(from + size, end);
      await options.before?.(from);
      const batch = lane.batch(from, to);
      const write = target.write(batch, previous);
      write.then(
        () => batch.buffer.fill(0x23), // as the runner uses it again
        () => {},
      );
      previous = write;
      writes.push({ from, to, write });
    }
    await Promise.allSettled(writes.map(({ write }) => write));
    for (const { from, to, write } of writes) {
      try {
        await write;
        done = to;
      } catch (error) {
        const mark = error instanceof CursorMoved ? error.cursors.get(laneKey(lane.id)) : undefined;
        if (mark !== undefined) done = mark.record;
        const verdict = target.classify(error);
        verdicts.push(`${verdict}: ${(error as Error).message}`);
        if (verdict === 'stop') throw error;
        if (verdict === 'split') {
          await bisect(target, lane, from, to, refused);
          await target.write({ ...lane.batch(from, from), to: lane.mark(to) }, Promise.resolve());
          done = to;
        } else if (mark === undefined) await new Promise((resolve) => setTimeout(resolve, 30));
        break;
      }
    }
  }
  return { refused, verdicts };
}

/** As the runner at its start: nothing is written before the cursors are known. */
async function claim(target: Subject, verdicts: string[], endMs: number): Promise<void> {
  for (;;) {
    try {
      await target.cursors?.();
      return;
    } catch (error) {
      const verdict = target.classify(error);
      verdicts.push(`${verdict}: ${(error as Error).message}`);
      if (verdict === 'stop' || Date.now() > endMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }
}

async function bisect(target: Subject, lane: TestLane, from: number, to: number, refused: number[]): Promise<void> {
  try {
    await target.write(lane.batch(from, to, false), Promise.resolve());
  } catch (error) {
    if (target.classify(error) !== 'split') throw error;
    if (to - from === 1) {
      refused.push(from);
      return;
    }
    const middle = (from + to) >> 1;
    await bisect(target, lane, from, middle, refused);
    await bisect(target, lane, middle, to, refused);
  }
}
