/**
 * Partition queue: the record batches of one partition that are not delivered yet, in order, and the sequence numbers
 * by which the broker tells a repeated batch from a new one. There is no network in here: the target sends what next()
 * returns and reports the answer.
 *
 *   calm        up to inFlightMax batches on the way at once, numbered as they go
 *   recovering  after any failure, and with a new identity: no new batch until every answer is in; then one batch at a
 *               time from the oldest, until all batches that were tried before are delivered
 *
 * Always true, for an idempotent producer:
 *   Q1  Batches are appended in the order of add(). A batch whose outcome is unknown goes again before any later batch,
 *       with the same identity, numbers and bytes, so a broker that has the batch already drops it.
 *   Q2  Numbers have no gap: when a batch is refused, the batches behind it get new numbers. The broker cannot have
 *       appended any of them, because their numbers were too high. So the queue waits for every answer first.
 *       A refused batch of unknown outcome keeps its numbers all the same: the broker may have it, and a batch that got
 *       them next would be taken for it and dropped. If the broker does not have it, it says OUT_OF_ORDER_SEQUENCE.
 *   Q3  A batch of unknown outcome gets a new identity only when the broker has lost the numbers of the oldest batch
 *       (OUT_OF_ORDER_SEQUENCE for that batch, or an unknown producer). This may duplicate the batch; it is reported.
 */

import { kafkaCode } from '../../store/kafka/failure.ts';
import { nobody, type ProducerIdentity, stamp } from './encode.ts';

/** Sequence numbers are 31 bits and start again at 0. */
const SEQUENCES = 2 ** 31;

export interface Part {
  readonly partition: number;
  readonly bytes: Buffer;
  readonly count: number;
  inFlight: boolean;
  /** The broker may have the batch under its present number. */
  unknown: boolean;
  tried: boolean;
  sequence: number;
  /** Answers so far that may mean the batch, or not (verdict.ts). */
  doubts: number;
}

export type Answer = 'delivered' | 'failed' | 'refused';

const NOT_NUMBERED = -1;
/** Error codes that a broker gives before it appends. With any other code the batch may be in the log. */
const refusedBeforeAppend: ReadonlySet<number> = new Set([
  kafkaCode.unknownTopicOrPartition,
  kafkaCode.leaderNotAvailable,
  kafkaCode.notLeaderOrFollower,
  kafkaCode.notEnoughReplicas,
  kafkaCode.outOfOrderSequence,
  kafkaCode.invalidProducerEpoch,
  kafkaCode.unknownProducerId,
  kafkaCode.invalidProducerIdMapping,
  kafkaCode.producerFenced,
]);
/** The broker takes nothing more under this identity. */
const identityLost: ReadonlySet<number> = new Set([
  kafkaCode.unknownProducerId,
  kafkaCode.invalidProducerEpoch,
  kafkaCode.invalidProducerIdMapping,
  kafkaCode.producerFenced,
]);

export class PartitionQueue {
  readonly #idempotent: boolean;
  readonly #inFlightMax: number;
  readonly #parts: Part[] = [];
  #inFlight = 0;
  #recovering = true;
  /** Replaces the identity when nothing is in flight. */
  #newIdentity: ProducerIdentity | undefined;
  #identity: ProducerIdentity | undefined;
  #renumber = false;
  /** Number that the broker expects next. */
  #expected = 0;
  /** Number for the next batch that has no number yet. */
  #nextSequence = 0;
  #duplicatesMax = 0;

  constructor(idempotent: boolean, inFlightMax: number) {
    this.#idempotent = idempotent;
    this.#inFlightMax = inFlightMax;
    if (!idempotent) this.#identity = nobody;
  }

  /** True when next() returns nothing until renew() has brought an identity. */
  get needsIdentity(): boolean {
    return this.#identity === undefined && this.#newIdentity === undefined;
  }

  /** Most records that may be in the partition twice because the broker lost track of them, since the start. */
  get duplicatesMax(): number {
    return this.#duplicatesMax;
  }

  get parts(): readonly Part[] {
    return this.#parts;
  }

  add(part: Part): void {
    this.#parts.push(part);
  }

  renew(identity: ProducerIdentity): void {
    this.#newIdentity = identity;
  }

  /**
   * Marks the batch to send now as in flight and returns it. Undefined: there is none, or an answer must come first.
   */
  next(): Part | undefined {
    if (this.#recovering) {
      if (this.#inFlight > 0) return undefined;
      this.#settleNumbers();
    }
    if (!this.#identity || this.#inFlight >= (this.#recovering ? 1 : this.#inFlightMax)) return undefined;
    const part = this.#parts.find((one) => !one.inFlight);
    if (!part) return undefined;
    if (part.sequence === NOT_NUMBERED) this.#number(part, this.#identity);
    part.inFlight = true;
    part.tried = true;
    this.#inFlight += 1;
    return part;
  }

  /** Applies the broker's answer to a batch. `refused`: no repetition of the batch can succeed. */
  answered(part: Part, code: number, refused: boolean): Answer {
    const oldest = this.#parts[0] === part;
    this.#land(part);
    if (code === kafkaCode.none || code === kafkaCode.duplicateSequence) {
      this.#remove(part);
      if (this.#idempotent) this.#expected = (part.sequence + part.count) % SEQUENCES;
      if (this.#recovering && !this.#renumber && !this.#newIdentity)
        this.#recovering = this.#parts.some((one) => one.tried);
      return 'delivered';
    }
    this.#recovering = true;
    if (refused) {
      this.#remove(part);
      // Only the oldest batch is of unknown outcome before it is sent, so nothing in front of it needs a number.
      if (part.unknown && this.#idempotent) this.#expected = (part.sequence + part.count) % SEQUENCES;
      else this.#renumber = true;
      return 'refused';
    }
    if (!refusedBeforeAppend.has(code)) part.unknown = true;
    if (identityLost.has(code) || (code === kafkaCode.outOfOrderSequence && oldest)) this.#loseIdentity();
    return 'failed';
  }

  /** No answer came: the connection ended or the time was up. The broker may or may not have the batch. */
  unanswered(part: Part): void {
    this.#land(part);
    part.unknown = true;
    this.#recovering = true;
  }

  /** Removes a batch that this queue will not send again. */
  drop(part: Part): void {
    this.#remove(part);
    if (part.unknown) this.#loseIdentity();
    this.#renumber = true;
    this.#recovering = true;
  }

  #loseIdentity(): void {
    if (this.#idempotent && this.#newIdentity === undefined) this.#identity = undefined;
  }

  #land(part: Part): void {
    part.inFlight = false;
    this.#inFlight -= 1;
  }

  #remove(part: Part): void {
    const index = this.#parts.indexOf(part);
    if (index >= 0) this.#parts.splice(index, 1);
  }

  /** Called when every answer is in: takes the new identity, or closes the gap that a refused batch has left. */
  #settleNumbers(): void {
    if (!this.#idempotent) return;
    if (this.#newIdentity) {
      this.#identity = this.#newIdentity;
      this.#newIdentity = undefined;
      this.#expected = 0;
      this.#renumber = true;
      for (const part of this.#parts) {
        if (part.unknown) this.#duplicatesMax += part.count;
        part.unknown = false;
      }
    }
    if (!this.#renumber) return;
    this.#renumber = false;
    this.#nextSequence = this.#expected;
    for (const part of this.#parts) part.sequence = NOT_NUMBERED;
  }

  #number(part: Part, identity: ProducerIdentity): void {
    part.sequence = this.#idempotent ? this.#nextSequence : -1;
    this.#nextSequence = (this.#nextSequence + part.count) % SEQUENCES;
    stamp(part.bytes, identity, part.sequence);
  }
}

/** A part as it enters a queue. */
export function freshPart({ partition, bytes, count }: { partition: number; bytes: Buffer; count: number }): Part {
  return { partition, bytes, count, inFlight: false, unknown: false, tried: false, sequence: NOT_NUMBERED, doubts: 0 };
}
