/**
 * Members of a consumer group for tests: each is a runner with a KafkaSource and a target that keeps its rows and
 * cursors in one place, as a database does. Records are produced by kafkajs, a client that is not ours.
 */
import { expect } from 'vitest';
import {
  CursorMoved,
  type ErrorClass,
  type SinkBatch,
  type SinkKind,
  type SinkTarget,
} from '../../src/delivery/contract.ts';
import { KafkaSource } from '../../src/delivery/kafka-source.ts';
import { SinkRunner } from '../../src/delivery/runner.ts';
import { Waiter } from '../../src/delivery/waiter.ts';
import type { Mark } from '../../src/engine/checkpoint.ts';
import { type LaneId, laneKey } from '../../src/engine/segment.ts';
import { SinkBoard } from '../../src/engine/sink-board.ts';
import { originOf } from '../../src/events/foreign.ts';
import { jsonLength, jsonStart, receivedMsAt } from '../../src/events/record.ts';
import { keyOf } from '../../src/events/record-key.ts';
import { createLog } from '../../src/kernel/log.ts';
import { createWakeWords, WakeWords } from '../../src/kernel/threads/wake.ts';
import { client } from '../servers/topics.ts';
import { configOf } from '../sinks/kafka/events.ts';

export interface Row {
  readonly value: string;
  readonly key: string | undefined;
  readonly timeMs: number;
  readonly partition: number;
  readonly offset: number;
  readonly member: string;
}

/** What the members of a group write to: rows and cursors move together. */
export class Store {
  readonly rows: Row[] = [];
  readonly cursors = new Map<string, { mark: Mark; epoch: number }>();
  /** Called before a batch is stored; may wait, or refuse it. */
  before: (values: readonly string[], member: string) => Promise<void> | void = () => undefined;
  #epoch = 0;

  values(): string[] {
    return this.rows.map(({ value }) => value);
  }

  /** `keeps` false: a target without cursors, such as a file. */
  target(member: string, keeps: boolean): SinkTarget {
    const epochs = new Map<string, number>();
    const write = async (batch: SinkBatch): Promise<void> => {
      const rows = rowsOf(batch, member);
      await this.before(
        rows.map(({ value }) => value),
        member,
      );
      const key = laneKey(batch.lane);
      const cursor = this.cursors.get(key);
      if (keeps && batch.commit) {
        if ((cursor?.epoch ?? 0) > (epochs.get(key) ?? 0)) throw new Error(`fenced: ${member} at ${key}`);
        if (cursor !== undefined && cursor.mark.position !== batch.from.position)
          throw new CursorMoved(this.#marks(), `moved: ${key}`);
        this.cursors.set(key, { mark: batch.to, epoch: epochs.get(key) ?? 0 });
      }
      this.rows.push(...rows);
    };
    const cursors = async (lanes: readonly LaneId[] = []) => {
      this.#epoch += 1;
      for (const lane of lanes) {
        const key = laneKey(lane);
        epochs.set(key, this.#epoch);
        const found = this.cursors.get(key);
        if (found !== undefined) found.epoch = this.#epoch;
      }
      return this.#marks();
    };
    return { inFlightMax: 2, write, close: async () => undefined, ...(keeps ? { cursors } : {}) };
  }

  #marks(): ReadonlyMap<string, Mark> {
    return new Map([...this.cursors].map(([key, { mark }]) => [key, mark]));
  }
}

function rowsOf({ buffer, offsets, count }: SinkBatch, member: string): Row[] {
  return Array.from({ length: count }, (_, i) => {
    const record = offsets[i]!;
    const from = jsonStart(record);
    return {
      value: buffer.toString('utf8', from, from + jsonLength(buffer, record)),
      key: keyOf(buffer, record)?.toString(),
      timeMs: receivedMsAt(buffer, record),
      ...originOf(buffer, record),
      member,
    };
  });
}

export class Refused extends Error {}

export interface MemberOptions {
  readonly brokers: string;
  readonly topics: readonly string[];
  readonly groupId: string;
  readonly name?: string;
  readonly keeps?: boolean;
  readonly start?: 'earliest' | 'latest';
  readonly env?: Record<string, string>;
  readonly batch?: number;
}

export class Member {
  readonly board = new SinkBoard(SinkBoard.create(1));
  readonly letters: { lane: string; position: number; reason: string; event: string; key: string | undefined }[] = [];
  readonly source: KafkaSource;
  readonly ended: Promise<void>;
  readonly #runner: SinkRunner;

  constructor(store: Store, options: MemberOptions) {
    const { brokers, topics, groupId, name = 'one', keeps = true, start = 'earliest', env = {}, batch = 50 } = options;
    const words = new WakeWords(createWakeWords(1));
    this.source = new KafkaSource(
      {
        config: configOf({ KAFKA_BROKERS: brokers, ...env }),
        options: { topics, groupId, start, sessionTimeoutMs: 6000 },
        clientId: `test-${name}`,
        log: 'test',
        wake: () => words.wake(0),
      },
      undefined,
    );
    const classify = (error: unknown): ErrorClass => (error instanceof Refused ? 'split' : 'retry');
    this.#runner = new SinkRunner({
      name: 'test',
      kind: { name: 'test', waits: 'event-loop', classify } as unknown as SinkKind<never>,
      open: async () => {
        await this.source.identity();
        return store.target(name, keeps);
      },
      batching: { records: batch, bytes: 256 * 1024, flushMs: 5 },
      source: this.source,
      checkpoint: undefined,
      state: undefined,
      deadLetters: {
        append: (letters) => {
          for (const { lane, position, reason, event, key } of letters)
            this.letters.push({ lane, position, reason, event: String(event), key: key && String(key) });
          return letters.length;
        },
        count: () => 0,
        passed: () => undefined,
        close: () => undefined,
      },
      board: this.board,
      index: 0,
      waiter: new Waiter(words, 0, 'event-loop', 2 ** 20),
      log: createLog({ level: (process.env['TEST_LOG'] ?? 'silent') as 'silent', destination: 2, name }),
      meters: { batch: () => undefined, failure: () => undefined },
      line: (buffer, offset) => buffer.subarray(jsonStart(offset), jsonStart(offset) + jsonLength(buffer, offset)),
    });
    this.ended = this.#runner.run();
  }

  get ledger() {
    return this.source.ledger;
  }

  async drain(): Promise<void> {
    this.board.setPhase(0, 'drain');
    await this.ended;
  }
}

/** Produces the numbers [from, to) as values, number n into partition n modulo `partitions`. */
export async function produce(
  brokers: string,
  topic: string,
  from: number,
  to: number,
  partitions: number,
): Promise<void> {
  const producer = client(brokers).producer({
    // Its retries must not be taken for ours.
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner:
      () =>
      ({ message }) =>
        Number(message.headers!['p']),
  });
  await producer.connect();
  for (let n = from; n < to; n += 500) {
    const messages = Array.from({ length: Math.min(500, to - n) }, (_, i) => ({
      key: `k${(n + i) % 10}`,
      value: `{"n":${n + i}}`,
      headers: { p: String((n + i) % partitions) },
    }));
    await producer.send({ topic, messages });
  }
  await producer.disconnect();
}

/** Where a group stands, by partition. */
export async function committed(brokers: string, groupId: string, topic: string): Promise<Map<number, number>> {
  const admin = client(brokers).admin();
  await admin.connect();
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
  await admin.disconnect();
  return new Map(found!.partitions.map(({ partition, offset }) => [partition, Number(offset)]));
}

export const until = (what: string, done: () => boolean, ms = 40_000): Promise<void> =>
  expect.poll(done, { message: what, interval: 20, timeout: ms }).toBe(true);
