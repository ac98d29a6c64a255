/**
 * Topic ends: the first and the next offset of each partition of the topic, and the first one from a time on, asked of
 * the cluster when somebody wants to know. The ends are kept for a moment. While the cluster cannot be asked, the last answer stands: nothing is put into the topic
 * then. Before the first answer everything may be in it.
 */
import { topicNumber } from '../../delivery/kafka-source.ts';
import type { KafkaConnectionConfig } from '../../store/kafka/config.ts';
import { KafkaLinks } from '../../store/kafka/links.ts';
import { EARLIEST, LATEST, listOffsets } from '../../store/kafka/offsets.ts';
import type { Span } from './range.ts';

type Ends = ReadonlyMap<number, Span>;

const KEPT_MS = 500;
/** Of one question; a longer wait would keep the answer from coming in time. */
const ASK_MS_MAX = 2000;
const UNKNOWN: Ends = new Map([[0, { from: 0, to: Number.MAX_SAFE_INTEGER }]]);

export class TopicEnds {
  /** What stands for the topic in cursors. */
  readonly number: number;
  readonly #topic: string;
  readonly #links: KafkaLinks;
  readonly #failed: (error: unknown) => void;
  /** Id of the topic that was asked last; undefined: it is not known. */
  id: string | undefined;
  #last: Ends = UNKNOWN;
  #asked: Promise<Ends> | undefined;

  /** `failed`: told of each question that got no answer. */
  constructor(config: KafkaConnectionConfig, topic: string, failed: (error: unknown) => void) {
    const limits = { kafkaConnectTimeoutMs: Math.min(config.kafkaConnectTimeoutMs, ASK_MS_MAX) };
    this.number = topicNumber(topic);
    this.#topic = topic;
    this.#links = new KafkaLinks({ ...config, ...limits }, { clientId: 'ringmain-query' });
    this.#failed = failed;
  }

  ask(): Promise<Ends> {
    if (this.#asked === undefined) {
      const asked = this.#ask();
      this.#asked = asked;
      void asked.finally(() => {
        setTimeout(() => {
          this.#asked = undefined;
        }, KEPT_MS).unref();
      });
    }
    return this.#asked;
  }

  /**
   * Of each partition the offset of the first record whose time is `ms` or later; a partition without one is missing.
   * Undefined: the cluster has not said.
   */
  async firstFrom(ms: number): Promise<ReadonlyMap<number, number> | undefined> {
    try {
      const [found] = await this.#list([BigInt(ms)]);
      return new Map([...found!].filter(([, offset]) => offset >= 0));
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  async #ask(): Promise<Ends> {
    try {
      const [first, next] = await this.#list([EARLIEST, LATEST]);
      this.#last = new Map(Array.from(next!, ([one, to]) => [one, { from: first!.get(one) ?? 0, to }]));
    } catch (error) {
      this.#failed(error);
    }
    return this.#last;
  }

  /** Of each time the offsets by partition. A topic that is not there yet has none. */
  async #list(times: readonly bigint[]): Promise<readonly ReadonlyMap<number, number>[]> {
    const { topics } = await this.#links.cluster([this.#topic]);
    this.id = topics.get(this.#topic)?.id ?? this.id;
    const partitions = topics.get(this.#topic)?.leaders.map((_, partition) => partition) ?? [];
    if (partitions.length === 0) return times.map(() => new Map());
    const wanted = new Map([[this.#topic, partitions]]);
    const found = await Promise.all(times.map((time) => listOffsets(this.#links, topics, wanted, time)));
    return found.map((offsets) => offsets.get(this.#topic) ?? new Map());
  }

  close(): Promise<void> {
    return this.#links.close();
  }
}
