/** Offsets: where partitions begin and end, asked of their leaders. */
import { listOffsetsV7 } from '@platformatic/kafka';
import { unreadable } from './answer.ts';
import { failureOfCode, kafkaCode } from './failure.ts';
import { type Assignment, assertAll, type Offsets } from './group.ts';
import { type KafkaLinks, pick, type Topic } from './links.ts';

const LIST_OFFSETS = 2;
const READ_COMMITTED = 1;
/** Times that stand for an end of a partition: the oldest record there is, and the next one to come. */
export const EARLIEST = -2n;
export const LATEST = -1n;

/**
 * `topics`: what the cluster has told of them. `timestamp`: an end, or ms since 1970: the first record from then on, -1
 * where there is none. Rejects with a KafkaFailure.
 */
export async function listOffsets(
  links: KafkaLinks,
  topics: ReadonlyMap<string, Topic>,
  assignment: Assignment,
  timestamp: bigint,
): Promise<Offsets> {
  const byLeader = new Map<number, Map<string, number[]>>();
  for (const [topic, partitions] of assignment)
    for (const partition of partitions) {
      const leader = topics.get(topic)?.leaders[partition] ?? -1;
      if (leader < 0) throw failureOfCode(kafkaCode.leaderNotAvailable, `${topic}/${partition}`);
      const led = byLeader.get(leader) ?? new Map<string, number[]>();
      byLeader.set(leader, led.set(topic, [...(led.get(topic) ?? []), partition]));
    }
  const found = new Map<string, Map<number, number>>();
  for (const [leader, led] of byLeader) {
    const asked = [...led].map(([name, partitions]) => ({
      name,
      partitions: partitions.map((partitionIndex) => ({ partitionIndex, currentLeaderEpoch: -1, timestamp })),
    }));
    const answer = await links.askNode(leader, 'list offsets', (link) =>
      pick(link, LIST_OFFSETS, [[7, listOffsetsV7.api]], '3.0').async(link.connection, -1, READ_COMMITTED, asked),
    );
    for (const { name, partitions } of answer.topics)
      for (const { partitionIndex, errorCode, offset } of partitions) {
        if (errorCode !== kafkaCode.none) throw failureOfCode(errorCode, `offsets of ${name}/${partitionIndex}`);
        if (offset < 0n && timestamp < 0n)
          throw unreadable(`an offset of ${name}/${partitionIndex} must not be negative: ${offset}`);
        found.set(name, (found.get(name) ?? new Map<number, number>()).set(partitionIndex, Number(offset)));
      }
  }
  const answered = [...found].flatMap(([topic, offsets]) => [...offsets.keys()].map((one) => [topic, one] as const));
  assertAll(assignment, answered, 'list of offsets');
  return found;
}
