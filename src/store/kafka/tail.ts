/**
 * Tail: follows topics from a time near their end, without a group: nobody is dealt anything and nothing is committed.
 * For what may miss records: it goes on at the end after a failure, and passes over what retention took.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { KafkaConnectionConfig } from './config.ts';
import { failureOfCode, kafkaCode } from './failure.ts';
import { askFetch } from './fetch.ts';
import { KafkaLinks, type Topic } from './links.ts';
import { LATEST, listOffsets } from './offsets.ts';
import { type KafkaRecord, Partition } from './partition.ts';
import { Spare } from './spare.ts';

/** An answer without records comes after this time. */
const WAIT_MS = 250;
const ANSWER_BYTES_MAX = 4 * 2 ** 20;
const PARTITION_BYTES_MAX = 2 ** 20;
const BACKOFF_MS = 500;

export interface TailOptions {
  readonly topic: string;
  readonly clientId: string;
  /** Records of this age and younger are read, ms; the clock is that of the brokers and producers. */
  readonly sinceMs: number;
  /** Reads one record; key and value hold until it returns. */
  record(record: KafkaRecord): void;
  /** Called for each failure; reading goes on after a pause. */
  failed(error: unknown): void;
}

/** Reads until the signal fires. */
export async function followTail(
  config: KafkaConnectionConfig,
  options: TailOptions,
  signal: AbortSignal,
): Promise<void> {
  const links = new KafkaLinks(config, { clientId: options.clientId });
  let sinceMs: number | undefined = options.sinceMs;
  try {
    while (!signal.aborted) {
      try {
        const { topics } = await links.cluster([options.topic]);
        const topic = topics.get(options.topic);
        // One that is not there yet has no end to follow.
        if (topic !== undefined) await followTopic(links, topic, topics, options, sinceMs, signal);
      } catch (error) {
        if (!signal.aborted) options.failed(error);
      }
      sinceMs = undefined;
      await delay(BACKOFF_MS, undefined, { signal }).catch(() => {});
    }
  } finally {
    await links.close();
  }
}

/** Returns when the signal fires; rejects with what fails first. */
async function followTopic(
  links: KafkaLinks,
  topic: Topic,
  topics: ReadonlyMap<string, Topic>,
  options: TailOptions,
  sinceMs: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  const wanted = new Map([[options.topic, topic.leaders.map((_, partition) => partition)]]);
  const ends = await listOffsets(links, topics, wanted, LATEST);
  const begins = sinceMs === undefined ? ends : await listOffsets(links, topics, wanted, BigInt(Math.floor(sinceMs)));
  const spare = new Spare();
  const partitions = topic.leaders.map((_, index) => {
    const at = begins.get(options.topic)?.get(index) ?? -1;
    return new Partition(options.topic, index, at < 0 ? ends.get(options.topic)!.get(index)! : at, { spare });
  });
  const byLeader = Map.groupBy(partitions, ({ partition }) => topic.leaders[partition]!);
  const ended = new AbortController();
  const stop = AbortSignal.any([signal, ended.signal]);
  const readers = [...byLeader].map(async ([leader, led]) => {
    try {
      while (!stop.aborted) await fetchOnce(links, leader, led, topic.id, options);
    } finally {
      ended.abort();
    }
  });
  await Promise.all(readers);
}

async function fetchOnce(
  links: KafkaLinks,
  leader: number,
  partitions: readonly Partition[],
  id: string | undefined,
  options: TailOptions,
): Promise<void> {
  const node = await links.toNode(leader, 'fetch');
  const wishes = partitions.map(({ partition, fetchFrom }) => ({ partition, offset: fetchFrom }));
  const topics = [{ name: options.topic, id, wishes }];
  const limits = { waitMs: WAIT_MS, bytesMax: ANSWER_BYTES_MAX, partitionBytesMax: PARTITION_BYTES_MAX };
  const { code, partitions: fetched } = await askFetch(node, limits, topics);
  if (code !== kafkaCode.none) throw failureOfCode(code, node.where);
  for (const answer of fetched) {
    const partition = partitions.find((one) => one.partition === answer.partition);
    if (partition === undefined) continue;
    if (answer.code !== kafkaCode.none) throw failureOfCode(answer.code, `${options.topic}/${answer.partition}`);
    partition.add(answer);
    do {
      partition.passGap();
      for (let record = partition.read(); record !== undefined; record = partition.read()) {
        options.record(record);
        partition.pass(record);
      }
    } while (partition.gap !== undefined);
  }
}
