/**
 * Topics made and removed by a client that is not ours, and seen by the brokers when the promise resolves.
 *
 * The controller answers before the brokers have heard: for a moment they know nothing of a new topic, or still have
 * one that is gone. The library's own wait is for leaders that are not elected yet, and fails on a topic that is unknown.
 */
import { setTimeout as delay } from 'node:timers/promises';
import kafkajs from 'kafkajs';

const { Kafka, logLevel } = kafkajs;
const PATIENCE_MS = 20_000;

/** A client that is not ours. */
export function client(...brokers: readonly string[]) {
  return new Kafka({
    clientId: 'test',
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
    retry: { retries: 20, initialRetryTime: 50 },
  });
}

type Admin = ReturnType<ReturnType<typeof client>['admin']>;

/** Makes a topic, with `config` as its settings ({ 'cleanup.policy': 'compact' }); fails when there is one of that name. */
export async function makeTopic(
  broker: string,
  topic: string,
  partitions: number,
  config: Readonly<Record<string, string>> = {},
): Promise<void> {
  const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
  await asAdmin(broker, async (admin) => {
    const topics = [{ topic, numPartitions: partitions, configEntries }];
    const made = await admin.createTopics({ topics, waitForLeaders: false });
    if (!made) throw new Error(`the topic is there already: topic=${topic}`);
    await until(`topic ${topic} with ${partitions} partitions and their leaders`, async () => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      const found = topics[0]?.partitions ?? [];
      return found.length === partitions && found.every(({ leader }) => leader >= 0);
    });
  });
}

/** Removes a topic. */
export async function removeTopic(broker: string, topic: string): Promise<void> {
  await asAdmin(broker, async (admin) => {
    await admin.deleteTopics({ topics: [topic] });
    await until(`the end of topic ${topic}`, async () => !(await admin.listTopics()).includes(topic));
  });
}

async function asAdmin(broker: string, work: (admin: Admin) => Promise<void>): Promise<void> {
  const admin = client(broker).admin();
  await admin.connect();
  try {
    await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** What a broker does not know yet is an error of its answer. */
async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    let refused: unknown;
    const held = await holds().catch((error: unknown) => {
      refused = error;
      return false;
    });
    if (held) return;
    if (Date.now() > deadline) throw new Error(`waited ${PATIENCE_MS} ms for ${what}`, { cause: refused });
    await delay(50);
  }
}
