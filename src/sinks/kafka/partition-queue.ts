/**
 * The record batches of one partition that are not delivered yet, in order, and the sequence numbers by which the broker
 * tells a repeated batch from a new one. No network in here: the target sends what next() returns and reports back.
 *
 *   calm        up to inFlightMax batches on the way at once, numbered as they go
 *   recovering  after anything went wrong, and with a new identity: nothing new until every answer is in, then one batch
 *               at a time from the oldest, until all that were tried before are delivered
 *
 * Always true, for an idempotent producer:
 *   Q1  Batches are appended in the order of add(), and a batch whose outcome is unknown goes again with the same
 *       identity, numbers and bytes, before any later one: so the broker drops it when it has it already.
 *   Q2  Numbers have no gap: when a batch is refused, those behind it are numbered anew. The broker cannot have appended
 *       one of them, for their numbers were too high; hence the wait for every answer.
 *   Q3  Only when the broker has lost the numbers of the oldest batch (OUT_OF_ORDER_SEQUENCE for it, or an unknown
 *       producer) is a batch of unknown outcome sent under a new identity. That may duplicate it; it is reported.
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
  /** The broker may have it under its present number. */
  unknown: boolean;
  tried: boolean;
  sequence: number;
}

export type Answer = 'delivered' | 'failed' | 'refused';

const NOT_NUMBERED = -1;
/** Error codes that a broker gives before it appends; with any other the batch may be in the log. */
const refusedBeforeAppend: ReadonlySet<number> = new Set([
  kafkaCode.unknownTopicOrPartition,
  kafkaCode.leaderNotAvailable,
  kafkaCode.notLeaderOrFollower,
  kafkaCode.notEnoughReplicas,
  kafkaCode.outOfOrderSequence,
  kafkaCode.invalidProducerEpoch,
  kafkaCode.unknownProducerId,
]);

export class PartitionQueue {
  readonly #idempotent: boolean;
  readonly #inFlightMax: number;
  readonly #parts: Part[] = [];
  #inFlight = 0;
  #recovering = true;
  /** Taken on when nothing is in flight. */
  #newIdentity: ProducerIdentity | undefined;
  #identity: ProducerIdentity | undefined;
  #renumber = false;
  /** Number that the broker expects next. */
  #expected = 0;
  /** Number of the next batch that has none. */
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

  /** Records that may be in the partition twice, because the broker lost track of them; counted since the start. */
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

  /** The batch to send now, marked as in flight; undefined when there is none or it has to wait for an answer. */
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

  /** The broker's answer to a batch; `refused` says that no repetition of it can succeed. */
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
      this.#renumber = true;
      return 'refused';
    }
    if (!refusedBeforeAppend.has(code)) part.unknown = true;
    const lost =
      code === kafkaCode.unknownProducerId ||
      code === kafkaCode.invalidProducerEpoch ||
      (code === kafkaCode.outOfOrderSequence && oldest);
    if (lost && this.#idempotent && this.#newIdentity === undefined) this.#identity = undefined;
    return 'failed';
  }

  /** No answer: the connection ended or the time was up. The broker may or may not have the batch. */
  unanswered(part: Part): void {
    this.#land(part);
    part.unknown = true;
    this.#recovering = true;
  }

  /** Takes a batch out that will not be sent again by this queue. */
  drop(part: Part): void {
    this.#remove(part);
    this.#renumber = true;
    this.#recovering = true;
  }

  #land(part: Part): void {
    part.inFlight = false;
    this.#inFlight -= 1;
  }

  #remove(part: Part): void {
    const index = this.#parts.indexOf(part);
    if (index >= 0) this.#parts.splice(index, 1);
  }

  /** With every answer in: takes on a new identity, or closes the gap that a refused batch has left. */
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
  return { partition, bytes, count, inFlight: false, unknown: false, tried: false, sequence: NOT_NUMBERED };
}
