/**
 * Dead topic: where records of a topic go that nobody can use, `<topic>.dead` on the same cluster. Key and value are
 * those of the record; headers say why, and where it stood:
 *
 *   reason | topic, partition, offset of the record | time, when it was put here (RFC 3339)
 *   value_bytes   only when the broker takes no record of this size: how long the value was before its end was cut off
 *   key_bytes     only when it takes not even the key: how long that was. Key and value are left out then
 *
 * put() resolves when every in-sync replica has all letters. Waits end after the limits of the connection's options,
 * and a failure is a KafkaFailure: the caller comes again with the same letters, so a letter may be there twice; topic,
 * partition and offset tell. The topic is made when it is missing and KAFKA_CREATE_TOPIC allows it.
 */
import { createRecordsBatch } from '@platformatic/kafka';
import type { ErrorClass } from '../../delivery/contract.ts';
import { failureOfCode, KafkaFailure, kafkaCode } from '../../store/kafka/failure.ts';
import type { Topic } from '../../store/kafka/links.ts';
import { KafkaClient } from './client.ts';
import type { KafkaConfig } from './config.ts';

export interface DeadRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly key: Buffer | undefined;
  /** Undefined: null, as that of a tombstone. */
  readonly value: Buffer | undefined;
  /** One line. */
  readonly reason: string;
  /** When it became a dead letter, ms since 1970. */
  readonly timeMs: number;
}

/** A request holds letters of so many bytes, or one: below a broker's default message.max.bytes. */
const REQUEST_BYTES_MAX = 512 * 1024;
const REASON_CHARS_MAX = 1000;
const NOTHING = Buffer.alloc(0);

/** What a failure of put() means. The batch is never to blame. */
export const classifyLetter = (error: unknown): ErrorClass | undefined =>
  error instanceof KafkaFailure ? (error.verdict === 'stop' ? 'stop' : 'retry') : undefined;

export class DeadTopic {
  readonly #client: KafkaClient;
  #topic: Topic | undefined;

  /** Connects with the first letter. */
  constructor(config: KafkaConfig, clientId: string) {
    this.#client = new KafkaClient(
      { ...config, kafkaTopic: `${config.kafkaTopic}.dead`, kafkaAcks: 'all' },
      `${clientId}-dead`,
    );
  }

  async put(letters: readonly DeadRecord[]): Promise<void> {
    try {
      this.#topic ??= await this.#client.topic();
      const { leaders } = this.#topic;
      for (const [partition, list] of Map.groupBy(letters, ({ partition }) => partition % leaders.length))
        for (const chunk of chunks(list)) await this.#send(leaders[partition]!, partition, chunk);
    } catch (error) {
      // Another broker may lead the partition by now.
      this.#topic = undefined;
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  async #send(node: number, partition: number, letters: readonly DeadRecord[]): Promise<void> {
    const failure = await this.#produce(node, partition, letters.map(messageOf));
    if (failure === undefined) return;
    if (failure.verdict !== 'split') throw failure;
    if (letters.length > 1) {
      const middle = letters.length >>> 1;
      await this.#send(node, partition, letters.slice(0, middle));
      await this.#send(node, partition, letters.slice(middle));
      return;
    }
    await this.#sendCut(node, partition, letters[0]!, failure);
  }

  /** The topic takes less than the one that the record came from: what fits of it is kept. */
  async #sendCut(node: number, partition: number, letter: DeadRecord, refusal: KafkaFailure): Promise<void> {
    const value = letter.value ?? NOTHING;
    for (let bytes = value.length >>> 1; bytes > 0; bytes >>>= 1) {
      const message = messageOf({ ...letter, value: value.subarray(0, bytes) });
      message.headers.set(Buffer.from('value_bytes'), Buffer.from(String(value.length)));
      const failure = await this.#produce(node, partition, [message]);
      if (failure === undefined) return;
      if (failure.verdict !== 'split') throw failure;
    }
    // The key is too large by itself: the letter says where the record stands.
    const message = messageOf({ ...letter, key: undefined, value: NOTHING });
    message.headers.set(Buffer.from('value_bytes'), Buffer.from(String(value.length)));
    message.headers.set(Buffer.from('key_bytes'), Buffer.from(String(letter.key?.length ?? 0)));
    if ((await this.#produce(node, partition, [message])) === undefined) return;
    throw new KafkaFailure('retry', refusal.code, refusal.message, refusal);
  }

  async #produce(node: number, partition: number, messages: readonly Message[]): Promise<KafkaFailure | undefined> {
    const batch = createRecordsBatch([...messages], { compression: 'gzip', producerEpoch: -1 });
    const [result] = await this.#client.produce(node, [{ partition, bytes: batch.buffer }]);
    const code = result?.code ?? kafkaCode.none;
    if (code === kafkaCode.none) return undefined;
    return failureOfCode(code, `dead letters to ${this.#client.place(node)}`, result?.detail);
  }
}

interface Message {
  topic: string;
  readonly key?: Buffer;
  readonly value: Buffer;
  readonly headers: Map<Buffer, Buffer>;
  readonly timestamp: bigint;
}

function messageOf({ topic, partition, offset, key, value, reason, timeMs }: DeadRecord): Message {
  const headers = {
    reason: reason.slice(0, REASON_CHARS_MAX),
    topic,
    partition: String(partition),
    offset: String(offset),
    time: new Date(timeMs).toISOString(),
  };
  return {
    topic,
    ...(key === undefined ? {} : { key }),
    // The library writes null where there is none, which its type does not say.
    value: value as Buffer,
    headers: new Map(Object.entries(headers).map(([name, text]) => [Buffer.from(name), Buffer.from(text)])),
    timestamp: BigInt(Math.trunc(timeMs)),
  };
}

function* chunks(letters: readonly DeadRecord[]): Iterable<readonly DeadRecord[]> {
  let chunk: DeadRecord[] = [];
  let bytes = 0;
  for (const letter of letters) {
    const more = (letter.value?.length ?? 0) + (letter.key?.length ?? 0) + 2 * REASON_CHARS_MAX;
    if (chunk.length > 0 && bytes + more > REQUEST_BYTES_MAX) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(letter);
    bytes += more;
  }
  if (chunk.length > 0) yield chunk;
}
