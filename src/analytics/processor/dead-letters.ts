/** Dead letters of records of a topic that are no events: each is sent once, however often its batch comes. */
import type { ErrorClass, SinkBatch } from '../../delivery/contract.ts';
import { laneKey } from '../../engine/segment.ts';
import { isTombstone, originOf } from '../../events/foreign.ts';
import { jsonLength, jsonStart } from '../../events/record.ts';
import { keyOf } from '../../events/record-key.ts';
import type { DeadRecord } from '../../sinks/kafka/dead-topic.ts';
import type { Transaction } from '../../sinks/postgres/transaction.ts';

/** Where records of a topic go that are no events. put() resolves when they are safe; values are views of the batch. */
export interface Letters {
  put(letters: readonly DeadRecord[]): Promise<void>;
  /** What a failure of put() means; undefined: it is none of this. */
  classify(error: unknown): ErrorClass | undefined;
  close(): Promise<void>;
}

/** Letters that are remembered: more than the batches have that may be under way. */
const SENT_MAX = 50_000;
/** By the strand: a topic that is made anew has the offsets of the one before, and another id. */
const placeOf = (lane: SinkBatch['lane'], { offset }: DeadRecord): string => `${laneKey(lane)}/${offset}`;

export interface DeadLettersParts {
  /** Topics by their index in a record. */
  readonly topics: readonly string[];
  readonly letters: Letters;
  /** Ms since 1970. */
  now(): number;
}

export class DeadLetters {
  readonly #parts: DeadLettersParts;
  /** Letters that are safe, of batches that have not committed: a batch that comes again repeats none of them. */
  readonly #sent = new Set<string>();

  constructor(parts: DeadLettersParts) {
    this.#parts = parts;
  }

  /** The broker has them when it returns. */
  async put(
    transaction: Pick<Transaction, 'onCommit'>,
    { lane, buffer }: Pick<SinkBatch, 'lane' | 'buffer'>,
    refused: readonly { readonly record: number; readonly text: string }[],
  ): Promise<void> {
    const letters = refused.map(({ record, text }) => this.#letter(buffer, record, text));
    const places = letters.map((letter) => placeOf(lane, letter));
    const unsent = letters.filter((_, i) => !this.#sent.has(places[i]!));
    if (unsent.length > 0) await this.#parts.letters.put(unsent);
    if (this.#sent.size > SENT_MAX) this.#sent.clear();
    for (const place of places) this.#sent.add(place);
    transaction.onCommit(() => {
      for (const place of places) this.#sent.delete(place);
    });
  }

  #letter(buffer: Buffer, record: number, reason: string): DeadRecord {
    const { topic, partition, offset } = originOf(buffer, record);
    const from = jsonStart(record);
    const value = isTombstone(buffer, record) ? undefined : buffer.subarray(from, from + jsonLength(buffer, record));
    const name = this.#parts.topics[topic] ?? String(topic);
    const timeMs = this.#parts.now();
    return { topic: name, partition, offset, key: keyOf(buffer, record), value, reason, timeMs };
  }
}
