/**
 * Books: the record of every request, on its way into the journal of this acceptor. Requests are served only while
 * there is room for records; one whose room went away meanwhile waits here, and new ones are refused until it is
 * written.
 */
import type { Draft } from '../../events/draft.ts';
import type { CounterCell, GaugeCell } from '../../kernel/metrics.ts';
import type { Encoding, Intake } from '../../service/intake.ts';
import { encodeRequest, type RequestRecord } from '../record.ts';

/** Requests that may be under way when the room goes: connections of a thread are fewer. */
const WAITING_MAX = 20_000;
const AGAIN_MS = 50;

export interface BookMeters {
  readonly waiting: GaugeCell;
  readonly lost: CounterCell;
}

const nobody = { settled: () => undefined };
const probe: Encoding = { encode: () => 'nothing' };

export class Books implements Encoding {
  readonly #intake: Intake;
  readonly #meters: BookMeters;
  readonly #waiting: RequestRecord[] = [];
  #current: RequestRecord | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(intake: Intake, meters: BookMeters) {
    this.#intake = intake;
    this.#meters = meters;
  }

  /** Whether the record of one more request would find room now. */
  get room(): boolean {
    return this.#waiting.length === 0 && this.#intake.take(probe, 'memory', nobody) === 'nothing';
  }

  write(record: RequestRecord): void {
    if (this.#waiting.length === 0 && this.#store(record)) return;
    if (this.#waiting.length >= WAITING_MAX) {
      this.#meters.lost.add(1);
      return;
    }
    this.#waiting.push(record);
    this.#meters.waiting.set(this.#waiting.length);
    this.#timer ??= setInterval(() => this.#again(), AGAIN_MS);
  }

  /** @internal The encoding of the record that is being written. */
  encode(draft: Draft): 'ok' {
    encodeRequest(draft, this.#current!);
    return 'ok';
  }

  /** What still waits has a last chance. */
  close(): void {
    this.#again();
    clearInterval(this.#timer);
  }

  #store(record: RequestRecord): boolean {
    this.#current = record;
    // Published at the end of this turn of the loop, with the records of all its requests in one write.
    const taken = this.#intake.take(this, 'memory', nobody);
    return taken === 'stored' || taken === 'held' || taken === 'unknown';
  }

  #again(): void {
    let written = 0;
    while (written < this.#waiting.length && this.#store(this.#waiting[written]!)) written += 1;
    this.#waiting.splice(0, written);
    this.#meters.waiting.set(this.#waiting.length);
    if (this.#waiting.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
