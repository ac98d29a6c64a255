/** Rights: what the cluster says this login may do with a topic or a group (KIP-430), asked without doing any of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describeGroupsV5, metadataV9, metadataV12 } from '@platformatic/kafka';
import { unreadable } from './answer.ts';
import { KafkaFailure } from './failure.ts';
import { findCoordinator } from './group.ts';
import { type KafkaLinks, pick } from './links.ts';

const METADATA = 3;
const DESCRIBE_GROUPS = 15;
const RETRY_MS = 200;
/** Stands for "the broker does not tell". */
const UNTOLD = -2147483648;
/** Bits of authorized operations: the codes of AclOperation. */
const bits = { read: 1 << 3, write: 1 << 4 } as const;

/** Undefined: the broker does not tell. */
export const allows = (operations: number, right: keyof typeof bits): boolean | undefined =>
  operations === UNTOLD ? undefined : (operations & bits[right]) !== 0;

/** Brokers and topics, each topic with its operations. A topic that is not there has no partitions. */
export function topicsWithRights(links: KafkaLinks, names: readonly string[]) {
  return links.ask('metadata', async (link) => {
    const call = pick(link, METADATA, [
      [12, metadataV12.api],
      [9, metadataV9.api],
    ]);
    // The library throws for a topic in trouble; the answer is complete all the same.
    return call.async(link.connection, [...names], false, true).catch((cause: unknown) => {
      const { response } = cause as { response?: Awaited<ReturnType<typeof metadataV12.api.async>> };
      if (!response?.topics) throw cause;
      return response;
    });
  });
}

/** Operations of a consumer group, which need not be there. Rejects with GROUP_AUTHORIZATION_FAILED. */
export async function groupRights(links: KafkaLinks, groupId: string): Promise<number> {
  const node = await findCoordinator(links, groupId);
  const { groups } = await links.askNode(node, 'describe group', (link) =>
    pick(link, DESCRIBE_GROUPS, [[5, describeGroupsV5.api]], '3.0').async(link.connection, [groupId], true),
  );
  const [group] = groups;
  if (group === undefined) throw unreadable('it must describe the group');
  return group.authorizedOperations;
}

/** A cluster that has just started loads its coordinators for a moment: what passes by itself is no finding. */
export async function patiently<T>(question: () => Promise<T>, limitMs: number): Promise<T> {
  for (const begin = performance.now(); ; await sleep(RETRY_MS)) {
    try {
      return await question();
    } catch (cause) {
      const passes = cause instanceof KafkaFailure && cause.verdict === 'retry';
      if (!passes || performance.now() - begin > limitMs) throw cause;
    }
  }
}
