/**
 * Intake: how a route hands records to the engine, written once for every route. One per acceptor.
 *
 *   room?  >  mark  >  encode into the draft  >  room?  >  settle  >  stored | held | unknown
 *
 * Room is asked for twice: before, so that a full lane costs no encoding; and again when the records are in the draft
 * and their size is known, because a guess that is safe beforehand is ten times too high and would refuse what fits.
 * When the records do not fit behind those of other requests, the others are published and the encoding is repeated on
 * an empty draft. What is not stored is rewound.
 *
 * The engine's LaneWriter and Acknowledger have the shapes that are asked for here, and so has a fake of a few lines:
 * routes are tested without threads and disks.
 */
import type { AckLevel, Answerable } from '../engine/acknowledger.ts';
import { DraftTooLarge } from '../engine/lane.ts';
import type { Refusal } from '../engine/refusal.ts';
import type { Draft } from '../events/draft.ts';
import { httpErrors } from '../http/errors.ts';
import { serviceErrors } from './errors.ts';

export type { AckLevel, Answerable, Outcome } from '../engine/acknowledger.ts';

export interface IntakeLane extends Draft {
  /** The most bytes that one publish may hold; begin() throws DraftTooLarge beyond. */
  readonly draftBytesMax: number;
  /** Why what is in the draft and `bytes` more cannot be taken now; undefined: they can. */
  refusal(bytes: number): Refusal | undefined;
  mark(): number;
  /** Forgets what was committed since the mark. */
  rewind(mark: number): void;
}

export interface IntakeAcknowledger {
  settle(level: AckLevel): 'now' | 'later' | 'failed';
  /** `answer.settled()` comes exactly once, outside of this handler, also after the connection has gone. */
  hold(level: AckLevel, answer: Answerable): void;
  /** The connection of a held answer is gone. */
  dropped(answer: Answerable): void;
  /** Publishes the draft now, for a request that does not fit behind the others of this iteration. */
  flush(): void;
}

/** What a request wants to store. */
export interface Encoding {
  /**
   * Commits its records to the draft; called again, on an empty draft, when they did not fit behind others. ok: store
   * them. too_large: one record is larger than any may be. nothing: there is nothing to store, for reasons that the
   * route knows.
   */
  encode(draft: Draft): 'ok' | 'too_large' | 'nothing';
}

/**
 * stored: the level holds, answer now. held: `settled()` of the answer comes later, exactly once. unknown: the write
 * failed, nobody knows. too_large, nothing: as encoded; too_large also stands for more records than any draft holds. A
 * Refusal: no room, nothing is stored.
 */
export type Taken = 'stored' | 'held' | 'unknown' | 'too_large' | 'nothing' | Refusal;

export interface Intake {
  /** The most bytes of records that one request may make. */
  readonly draftBytesMax: number;
  /**
   * `answer` is used only when the result is 'held'. Call inside the handler. What `encode` throws goes on, with
   * nothing stored.
   */
  take(encoding: Encoding, level: AckLevel, answer: Answerable): Taken;
  /** The connection of a held answer is gone; its settled() still comes. */
  dropped(answer: Answerable): void;
}

export class LaneIntake implements Intake {
  readonly #lane: IntakeLane;
  readonly #acknowledger: IntakeAcknowledger;

  constructor(lane: IntakeLane, acknowledger: IntakeAcknowledger) {
    this.#lane = lane;
    this.#acknowledger = acknowledger;
  }

  get draftBytesMax(): number {
    return this.#lane.draftBytesMax;
  }

  take(encoding: Encoding, level: AckLevel, answer: Answerable): Taken {
    const lane = this.#lane;
    const full = lane.refusal(0);
    if (full !== undefined) return full;
    let mark = lane.mark();
    let made: 'ok' | 'too_large' | 'nothing';
    try {
      made = encoding.encode(lane);
    } catch (error) {
      lane.rewind(mark);
      if (!(error instanceof DraftTooLarge)) throw error;
      this.#acknowledger.flush();
      mark = lane.mark();
      made = this.#encodeAlone(encoding, mark);
    }
    if (made !== 'ok') {
      lane.rewind(mark);
      return made;
    }
    const refusal = lane.refusal(0);
    if (refusal !== undefined) {
      lane.rewind(mark);
      return refusal;
    }
    const when = this.#acknowledger.settle(level);
    if (when === 'now') return 'stored';
    if (when === 'failed') return 'unknown';
    this.#acknowledger.hold(level, answer);
    return 'held';
  }

  dropped(answer: Answerable): void {
    this.#acknowledger.dropped(answer);
  }

  #encodeAlone(encoding: Encoding, mark: number): 'ok' | 'too_large' | 'nothing' {
    try {
      return encoding.encode(this.#lane);
    } catch (error) {
      this.#lane.rewind(mark);
      if (!(error instanceof DraftTooLarge)) throw error;
      return 'too_large';
    }
  }
}

/** 429: nothing was stored, come again. 503: this server takes nothing before an operator has looked at its disk. */
export const statusOfRefusal: Readonly<Record<Refusal, 429 | 503>> = {
  ring_full: 429,
  journal_full: 429,
  journal_stalled: 429,
  sink_lag: 429,
  write_failed: 429,
  journal_failed: 503,
};

/**
 * Stores records for a route that answers later: resolves when the level holds. Rejects with BACKPRESSURE (nothing is
 * stored, sending again may help), RECORDS_TOO_LARGE (more than any draft holds) or WRITE_UNKNOWN.
 */
export function store(intake: Intake, encode: (draft: Draft) => void, level: AckLevel): Promise<void> {
  return new Promise((resolve, reject) => {
    const unknown = () => reject(serviceErrors.WRITE_UNKNOWN({ reason: `ack=${level}` }));
    const encoding: Encoding = {
      encode(draft) {
        encode(draft);
        return 'ok';
      },
    };
    const taken = intake.take(encoding, level, {
      settled: (outcome) => (outcome === 'stored' ? resolve() : unknown()),
    });
    if (taken === 'held') return;
    if (taken === 'stored') resolve();
    else if (taken === 'unknown') unknown();
    else if (taken === 'too_large') reject(serviceErrors.RECORDS_TOO_LARGE({ limit: intake.draftBytesMax }));
    else if (taken === 'nothing') reject(new TypeError('an encoding of store() always has something to store'));
    else reject(httpErrors.BACKPRESSURE({ reason: taken }));
  });
}
