/**
 * KafkaSource: the partitions that a consumer group has dealt to this process. A strand is a partition, and its
 * position is an offset. Its id is made of the topic's name and id and the partition's number, so a cursor in a target
 * means the same in every process and every run, and nothing in a topic that was deleted and made anew.
 *
 *   start     at the target's own cursor, else where the group stands
 *   progress  offsets are committed to the group after the checkpoint, so never ahead of the target (L4)
 *   numbers   a strand counts the records that it has read; offsets have holes (compaction, transactions)
 *   lost      offsets that retention took before they were read, or whose batch nobody can unpack, are given up, counted
 *             and logged
 */
import { createHash } from 'node:crypto';
import type { Batch } from '../engine/batch.ts';
import { type CheckpointState, type Mark, NO_LANES } from '../engine/checkpoint.ts';
import { type LaneId, laneKey } from '../engine/segment.ts';
import { foreignBytes, putForeign } from '../events/foreign.ts';
import type { Logger } from '../kernel/log.ts';
import type { KafkaConnectionConfig } from '../store/kafka/config.ts';
import { type Arrival, type ConsumerOptions, KafkaConsumer } from '../store/kafka/consumer.ts';
import { KafkaFailure } from '../store/kafka/failure.ts';
import { membershipCodes } from '../store/kafka/group.ts';
import type { Partition } from '../store/kafka/partition.ts';
import {
  type Amount,
  type DeadIn,
  EMPTY_LEDGER,
  type Membership,
  type RunningLedger,
  type Source,
  Strand,
  type StrandReader,
} from './source.ts';

export interface KafkaSourceDeps {
  readonly config: KafkaConnectionConfig;
  readonly options: ConsumerOptions;
  readonly clientId: string;
  /** The log that the checkpoint belongs to. */
  readonly log: string;
  /** Told when a topic was made anew. */
  readonly logger?: Logger;
  /** Wakes the runner. */
  readonly wake: () => void;
}

/** Number of a topic that is the same in every process: 48 bits of a hash of its name. */
export const topicNumber = (topic: string): number => createHash('sha256').update(topic).digest().readUIntBE(0, 6);

interface Place {
  readonly topic: string;
  readonly partition: number;
}

export class KafkaSource implements Source {
  readonly #deps: KafkaSourceDeps;
  readonly #consumer: KafkaConsumer;
  readonly ledger: RunningLedger;
  readonly membership: Membership;
  readonly exhausted = false;
  strands: readonly Strand[] = [];
  /** Where each strand began: what a target without a cursor of it stands at. */
  readonly #starts = new Map<string, Mark>();
  readonly #committed = new Map<string, number>();
  /** Ids of the topics that the partitions belong to. */
  readonly #topicIds = new Map<string, string | undefined>();
  #identity: string | undefined;

  constructor(deps: KafkaSourceDeps, checkpoint: CheckpointState | undefined) {
    this.#deps = deps;
    this.#consumer = new KafkaConsumer(deps.config, deps.options, deps.clientId, () => {
      // At once, not when the runner looks: it may wait for a batch that only ends because its strand is called back.
      if (this.#consumer.recalling) for (const strand of this.strands) strand.recalled = true;
      deps.wake();
    });
    this.ledger = { ...EMPTY_LEDGER, ...checkpoint?.ledger };
    this.membership = this.#asMembership();
  }

  /**
   * Names these records for a target that keeps cursors: a hash of the cluster's id and the group. Starts the consumer,
   * too. Fails while no broker answers.
   */
  async identity(): Promise<string> {
    const cluster = await this.#consumer.clusterId();
    this.#identity ??= createHash('sha256')
      .update(`${cluster} ${this.#deps.options.groupId}`)
      .digest('hex')
      .slice(0, 32);
    this.#consumer.start();
    return this.#identity;
  }

  advance(): boolean {
    return false;
  }

  follow(cursors: ReadonlyMap<string, Mark>, deadIn: DeadIn): void {
    const markOf = ({ id, delivered }: Strand): Mark =>
      cursors.get(laneKey(id)) ?? this.#starts.get(laneKey(id)) ?? delivered;
    let [moved, dead] = [0, 0];
    // Asked first: reading the letters may fail, and then nothing has changed.
    for (const strand of this.strands) {
      const [from, to] = [strand.delivered.position, markOf(strand).position];
      if (from !== to) dead += Math.sign(to - from) * deadIn(strand.key, Math.min(from, to), Math.max(from, to));
    }
    this.strands = this.strands.map((strand) => {
      const mark = markOf(strand);
      moved += mark.record - strand.delivered.record;
      const before = (strand.reader as PartitionReader).partition;
      return this.#strand(this.#consumer.seek(before, mark.position), mark);
    });
    // What is delivered again was passed before: the ledger counts each record once per delivery cycle.
    this.ledger.passed += moved;
    this.ledger.delivered += moved - dead;
    this.ledger.dead += dead;
  }

  lag(): Amount {
    let [records, bytes] = [0, 0];
    for (const { reader, delivered } of this.strands) {
      const { partition } = reader as PartitionReader;
      records += Math.max(0, (partition.end ?? delivered.position) - delivered.position);
      bytes += partition.buffered;
    }
    return { records, bytes };
  }

  published(): Amount {
    return { records: 0, bytes: 0 };
  }

  state(target: unknown): CheckpointState {
    const ledger = { ...this.ledger };
    return { log: this.#deps.log, life: NO_LANES, lanes: [], ledger, ...(target === undefined ? {} : { target }) };
  }

  close(): Promise<void> {
    return this.#consumer.close();
  }

  #strand(partition: Partition, mark: Mark): Strand {
    const topic = this.#deps.options.topics.indexOf(partition.topic);
    const reader = new PartitionReader(this.#consumer, partition, topic, mark);
    return new Strand(this.#idOf(partition), reader, `${partition.topic}/${partition.partition}`);
  }

  #idOf({ topic, partition }: Place): LaneId {
    const lifeId = this.#topicIds.get(topic);
    return { life: topicNumber(topic), lane: partition, ...(lifeId === undefined ? {} : { lifeId }) };
  }

  #asMembership(): Membership {
    const consumer = this.#consumer;
    const idOf = (arrival: Arrival) => {
      this.#topicIds.set(arrival.topic, arrival.topicId);
      return this.#idOf(arrival);
    };
    let seen: readonly Arrival[] = [];
    let ids: readonly LaneId[] = [];
    return {
      get recalling() {
        return consumer.recalling;
      },
      get arrived() {
        // One list for one arrival: the runner sees by it whether another deal came while it asked the target.
        if (consumer.arrived !== seen) {
          seen = consumer.arrived;
          ids = seen.map(idOf);
        }
        return ids;
      },
      get problem() {
        return consumer.problem;
      },
      released: () => {
        this.strands = [];
        this.#starts.clear();
        this.#committed.clear();
        consumer.released();
      },
      begin: (cursors) => this.#begin(cursors),
      commit: () => this.#commit(),
      classify: (error) => (error instanceof KafkaFailure ? error.verdict : undefined),
    };
  }

  #begin(cursors: ReadonlyMap<string, Mark>): void {
    const keyOf = (place: Place): string => laneKey(this.#idOf(place));
    const markOf = (place: Place, offset: number): Mark => cursors.get(keyOf(place)) ?? { position: offset, record: 0 };
    const begun = this.#consumer.begin((arrival) => {
      const { topic, partition, topicId, offset, remade } = arrival;
      if (remade)
        this.#deps.logger?.warn(
          { topic, partition, topicId, offset },
          'the topic was deleted and made anew: it is read from its earliest record',
        );
      this.#committed.set(keyOf(arrival), offset);
      return markOf(arrival, offset).position;
    });
    const strands = begun.map((partition) => {
      const mark = markOf(partition, partition.position);
      this.#starts.set(keyOf(partition), mark);
      return this.#strand(partition, mark);
    });
    this.strands = [...this.strands, ...strands];
  }

  async #commit(): Promise<void> {
    const offsets = new Map<string, Map<number, number>>();
    const stored = new Map<string, number>();
    for (const { id, reader, delivered } of this.strands) {
      const { topic, partition } = (reader as PartitionReader).partition;
      if (this.#committed.get(laneKey(id)) === delivered.position) continue;
      stored.set(laneKey(id), delivered.position);
      offsets.set(topic, (offsets.get(topic) ?? new Map<number, number>()).set(partition, delivered.position));
    }
    try {
      await this.#consumer.commit(offsets);
    } catch (error) {
      // The group deals anew: whoever gets the partition begins where the group stands.
      if (error instanceof KafkaFailure && membershipCodes.has(error.code)) return;
      throw error;
    }
    for (const [key, position] of stored) this.#committed.set(key, position);
  }
}

class PartitionReader implements StrandReader {
  partition: Partition;
  readonly finished = false;
  mark: Mark;
  readonly #consumer: KafkaConsumer;
  readonly #topic: number;

  constructor(consumer: KafkaConsumer, partition: Partition, topic: number, mark: Mark) {
    this.#consumer = consumer;
    this.partition = partition;
    this.#topic = topic;
    this.mark = mark;
  }

  end(): Mark {
    const { position, record } = this.mark;
    return this.partition.hasMore ? { position: position + 1, record: record + 1 } : this.mark;
  }

  fill(batch: Batch, recordsMax: number): boolean {
    try {
      return this.partition.gap === undefined ? this.#fill(batch, recordsMax) : this.#lose(batch);
    } catch (error) {
      this.partition = this.#consumer.failed(this.partition, error);
      return false;
    }
  }

  #fill(batch: Batch, recordsMax: number): boolean {
    const { partition } = this;
    const before = this.mark.record;
    while (batch.count < recordsMax) {
      const record = partition.read();
      if (record === undefined) break;
      const { offset, timeMs, brokerTime, key, value } = record;
      const bytes = foreignBytes(value, key);
      if (bytes > batch.buffer.length - batch.bytes) {
        if (batch.bytes > 0) {
          batch.full = true;
          break;
        }
        batch.reserve(bytes);
      }
      const origin = { topic: this.#topic, partition: partition.partition, offset };
      putForeign(batch.buffer, batch.bytes, value, key, timeMs, origin, brokerTime);
      partition.pass(record);
      this.mark = { position: partition.position, record: this.mark.record + 1 };
      batch.adoptRecord(bytes, offset, this.mark, timeMs);
    }
    // Markers of transactions and holes have no record: the position goes over them.
    if (partition.position > this.mark.position) {
      this.mark = { position: partition.position, record: this.mark.record };
      batch.to = this.mark;
    }
    this.#consumer.pump();
    return this.mark.record > before;
  }

  #lose(batch: Batch): boolean {
    const { gap } = this.partition;
    if (batch.bytes > 0 || gap === undefined) {
      batch.full = true;
      return false;
    }
    const to = { position: gap.to, record: this.mark.record + Math.max(0, gap.to - gap.from) };
    batch.losses.push({ from: this.mark, to, reason: gap.reason });
    batch.to = to;
    this.mark = to;
    this.partition.passGap();
    this.#consumer.pump();
    return true;
  }

  /** A topic keeps its records as long as it says itself: nothing is dropped because this process lags. */
  drop(): void {}
  /** Progress goes to the group by commit(). */
  advance(): void {}
  close(): void {}
}
