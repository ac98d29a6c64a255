/**
 * Group: one member of a consumer group, request by request, in the classic protocol of Kafka 3.0 and newer. It keeps
 * no timers and retries nothing; the consumer says when (consumer.ts).
 *
 *   join     FindCoordinator, JoinGroup, SyncGroup; the leader deals the partitions out in turns (the protocol named
 *            'roundrobin', which clients of other languages know)
 *   fencing  each request names the member's generation: a member that the group has given up commits nothing any more
 */
import {
  findCoordinatorV4,
  heartbeatV4,
  joinGroupV7,
  joinGroupV9,
  leaveGroupV4,
  offsetCommitV8,
  offsetFetchV8,
  syncGroupV5,
} from '@platformatic/kafka';
import { unreadable } from './answer.ts';
import { failureOf, failureOfCode, kafkaCode } from './failure.ts';
import { type KafkaLinks, type Link, pick } from './links.ts';

const FIND_COORDINATOR = 10;
const JOIN = 11;
const HEARTBEAT = 12;
const LEAVE = 13;
const SYNC = 14;
const COMMIT = 8;
const FETCH_OFFSETS = 9;
const LEAST = '3.0';
const PROTOCOL_TYPE = 'consumer';
const PROTOCOL = 'roundrobin';
const GROUP_KEY = 0;
/** The coordinator answers a little later than when its own limit ends. */
const SLACK_MS = 5000;

/** Partitions by topic. */
export type Assignment = ReadonlyMap<string, readonly number[]>;
/** Ids of topics by their names; undefined where the broker does not tell. */
export type TopicIds = ReadonlyMap<string, string | undefined>;
/** Offsets by topic and partition. */
export type Offsets = ReadonlyMap<string, ReadonlyMap<number, number>>;

export interface GroupOptions {
  readonly groupId: string;
  readonly topics: readonly string[];
  /** A member that is not heard of for so long loses its partitions. */
  readonly sessionTimeoutMs: number;
  /** In a rebalance a member has so long to finish what is under way and to join again. */
  readonly rebalanceTimeoutMs: number;
}

export class GroupMember {
  readonly #links: KafkaLinks;
  readonly #options: GroupOptions;
  #coordinator: number | undefined;
  #memberId = '';
  #generation = -1;

  constructor(links: KafkaLinks, options: GroupOptions) {
    this.#links = links;
    this.#options = options;
  }

  /** Becomes a member, or stays one in the next generation; resolves with the partitions of this member. */
  async join(partitionsOf: (topics: readonly string[]) => Promise<ReadonlyMap<string, number>>): Promise<Assignment> {
    const joined = await this.#join();
    this.#memberId = joined.memberId;
    this.#generation = joined.generationId;
    const lead = joined.leader === joined.memberId;
    const members = joined.members.map(({ memberId, metadata }) => ({ memberId, topics: topicsOf(metadata) }));
    const wanted = [...new Set(members.flatMap(({ topics }) => topics))];
    const dealt = lead ? deal(members, await partitionsOf(wanted)) : [];
    const assignments = dealt.map(({ memberId, assignment }) => ({
      memberId,
      assignment: writeAssignment(assignment),
    }));
    const { groupId, rebalanceTimeoutMs } = this.#options;
    const { assignment } = await this.#ask(
      'sync group',
      (link) =>
        pick(link, SYNC, [[5, syncGroupV5.api]], LEAST).async(
          link.connection,
          groupId,
          this.#generation,
          this.#memberId,
          null,
          PROTOCOL_TYPE,
          PROTOCOL,
          assignments,
        ),
      rebalanceTimeoutMs + SLACK_MS,
    );
    try {
      return readAssignment(assignment);
    } catch (error) {
      throw unreadable(`assignment of the group's leader: ${(error as Error).message}`, error);
    }
  }

  async #join() {
    const { groupId, topics, sessionTimeoutMs, rebalanceTimeoutMs } = this.#options;
    const protocols = [{ name: PROTOCOL, metadata: writeSubscription(topics) }];
    const ask = (memberId: string) =>
      this.#ask(
        'join group',
        (link) => {
          const call = pick(
            link,
            JOIN,
            [
              [9, joinGroupV9.api],
              [7, joinGroupV7.api],
            ],
            LEAST,
          );
          return call.async(
            link.connection,
            groupId,
            sessionTimeoutMs,
            rebalanceTimeoutMs,
            memberId,
            null,
            PROTOCOL_TYPE,
            protocols,
            null,
          );
        },
        rebalanceTimeoutMs + SLACK_MS,
      );
    try {
      return await ask(this.#memberId);
    } catch (error) {
      // A new member gets its name in the first answer and joins with the second request.
      const { memberId } = responseOf<{ memberId?: string }>(error) ?? {};
      if (failureOf(error, 'join group').code !== 'MEMBER_ID_REQUIRED' || !memberId) throw error;
      this.#memberId = memberId;
      return ask(memberId);
    }
  }

  heartbeat(): Promise<unknown> {
    return this.#ask('heartbeat', (link) =>
      pick(link, HEARTBEAT, [[4, heartbeatV4.api]], LEAST).async(
        link.connection,
        this.#options.groupId,
        this.#generation,
        this.#memberId,
        null,
      ),
    );
  }

  /**
   * Stores how far partitions are dealt with, and of which topic each is: the group knows topics by name alone. Fails
   * when the group has given this member up.
   */
  async commit(offsets: Offsets, ids: TopicIds): Promise<void> {
    const topics = [...offsets].map(([name, partitions]) => ({
      name,
      partitions: [...partitions].map(([partitionIndex, offset]) => ({
        partitionIndex,
        committedOffset: BigInt(offset),
        committedLeaderEpoch: -1,
        committedMetadata: ids.get(name) ?? null,
      })),
    }));
    if (topics.length === 0) return;
    await this.#ask('commit offsets', (link) =>
      pick(link, COMMIT, [[8, offsetCommitV8.api]], LEAST).async(
        link.connection,
        this.#options.groupId,
        this.#generation,
        this.#memberId,
        null,
        topics,
      ),
    );
  }

  /**
   * Where the group stands; partitions that nobody has committed are missing. So are those in `stale`: their offset
   * belongs to an earlier topic of that name.
   */
  async committed(assignment: Assignment, ids: TopicIds): Promise<{ offsets: Offsets; stale: Assignment }> {
    const topics = [...assignment].map(([name, partitions]) => ({ name, partitionIndexes: [...partitions] }));
    if (topics.length === 0) return { offsets: new Map(), stale: new Map() };
    const { groups } = await this.#ask('fetch offsets', (link) =>
      pick(link, FETCH_OFFSETS, [[8, offsetFetchV8.api]], LEAST).async(
        link.connection,
        [{ groupId: this.#options.groupId, memberId: null, memberEpoch: -1, topics }],
        true,
      ),
    );
    const found = new Map<string, Map<number, number>>();
    const stale = new Map<string, number[]>();
    for (const { name, partitions } of groups[0]?.topics ?? []) {
      const known = new Map<number, number>();
      for (const { partitionIndex, committedOffset, metadata, errorCode } of partitions) {
        if (errorCode !== kafkaCode.none) throw failureOfCode(errorCode, `offset of ${name}/${partitionIndex}`);
        if (committedOffset < 0n) continue;
        if (isOfTopic(metadata, ids.get(name))) known.set(partitionIndex, Number(committedOffset));
        else stale.set(name, [...(stale.get(name) ?? []), partitionIndex]);
      }
      found.set(name, known);
    }
    // A partition that is left out would count as one that nobody has committed, and begin anew.
    const answered = (groups[0]?.topics ?? []).map(({ name, partitions }) =>
      partitions.map(({ partitionIndex }) => [name, partitionIndex] as const),
    );
    assertAll(assignment, answered.flat(), 'offsets of the group');
    return { offsets: found, stale };
  }

  /** Goes, so that the others need not wait for the session to end. */
  async leave(): Promise<void> {
    if (this.#memberId === '') return;
    const memberId = this.#memberId;
    this.forget();
    await this.#ask('leave group', (link) =>
      pick(link, LEAVE, [[4, leaveGroupV4.api]], LEAST).async(link.connection, this.#options.groupId, [
        { memberId, groupInstanceId: null },
      ]),
    );
  }

  /** The group has given this member up: the next join() makes a new one. */
  forget(): void {
    this.#memberId = '';
    this.#generation = -1;
  }

  async #ask<T>(what: string, question: (link: Link) => Promise<T>, limitMs?: number): Promise<T> {
    const node = this.#coordinator ?? (await findCoordinator(this.#links, this.#options.groupId));
    this.#coordinator = node;
    try {
      return await this.#links.askNode(node, what, question, limitMs);
    } catch (error) {
      // Another broker may be the coordinator by now. These three only say something about the member.
      if (!membershipCodes.has(failureOf(error, what).code)) this.#coordinator = undefined;
      throw error;
    }
  }
}

/** The node that leads a group; the links know where it is. */
export async function findCoordinator(links: KafkaLinks, groupId: string): Promise<number> {
  const { coordinators } = await links.ask('find coordinator', (link) =>
    pick(link, FIND_COORDINATOR, [[4, findCoordinatorV4.api]], LEAST).async(link.connection, GROUP_KEY, [groupId]),
  );
  const [coordinator] = coordinators;
  if (coordinator === undefined) throw unreadable('it must name a coordinator');
  const { nodeId, host, port, errorCode, errorMessage } = coordinator;
  if (errorCode !== kafkaCode.none) throw failureOfCode(errorCode, 'find coordinator', errorMessage);
  links.learn(nodeId, { host, port });
  return nodeId;
}

const TOPIC_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether an offset with these words belongs to the topic. What names no topic, as tools commit it, belongs to any. */
const isOfTopic = (metadata: string | null | undefined, id: string | undefined): boolean =>
  id === undefined || metadata == null || !TOPIC_ID.test(metadata) || metadata === id;

/** Fails when an answer leaves out a partition that was asked for. */
export function assertAll(
  asked: Assignment,
  answered: readonly (readonly [topic: string, partition: number])[],
  what: string,
): void {
  const all = new Set(answered.map(([topic, partition]) => `${topic}/${partition}`));
  for (const [topic, partitions] of asked)
    for (const partition of partitions)
      if (!all.has(`${topic}/${partition}`)) throw unreadable(`${what} must name ${topic}/${partition}`);
}

/** Topics that a member wants. One whose words nobody can read wants none: it must not hold up the whole group. */
function topicsOf(metadata: Buffer | null): readonly string[] {
  try {
    return metadata === null ? [] : readSubscription(metadata);
  } catch {
    return [];
  }
}

/** What is wrong is the membership, not the network or the cluster. */
export const membershipCodes: ReadonlySet<string> = new Set([
  'ILLEGAL_GENERATION',
  'UNKNOWN_MEMBER_ID',
  'REBALANCE_IN_PROGRESS',
  'MEMBER_ID_REQUIRED',
]);

/** The answer that a failed request has brought, if it has brought one. */
function responseOf<T>(error: unknown): T | undefined {
  for (let at = error as { response?: T; cause?: unknown } | undefined; at != null; at = at.cause as typeof at)
    if (at.response !== undefined) return at.response;
  return undefined;
}

interface Member {
  readonly memberId: string;
  readonly topics: readonly string[];
}

/** Deals the partitions out in turns to the members that want their topic, in the order of their names. */
export function deal(
  members: readonly Member[],
  partitionsOf: ReadonlyMap<string, number>,
): { memberId: string; assignment: Assignment }[] {
  const sorted = members.toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1));
  const hands = new Map(sorted.map(({ memberId }) => [memberId, new Map<string, number[]>()]));
  let next = 0;
  for (const topic of [...partitionsOf.keys()].sort()) {
    const takers = sorted.filter(({ topics }) => topics.includes(topic));
    if (takers.length === 0) continue;
    for (let partition = 0; partition < partitionsOf.get(topic)!; partition++, next++) {
      const hand = hands.get(takers[next % takers.length]!.memberId)!;
      hand.set(topic, [...(hand.get(topic) ?? []), partition]);
    }
  }
  return [...hands].map(([memberId, assignment]) => ({ memberId, assignment }));
}

/** Subscription: version i16, topics [i16 length, name], user data i32 length -1: none. */
export function writeSubscription(topics: readonly string[]): Buffer {
  const words = new Words();
  words.int16(0);
  words.int32(topics.length);
  for (const topic of topics) words.text(topic);
  words.int32(-1);
  return words.bytes();
}

export function readSubscription(bytes: Buffer): string[] {
  const reader = new WordReader(bytes);
  reader.int16();
  return Array.from({ length: reader.count() }, () => reader.text());
}

/** Assignment: version i16, topics [name, partitions [i32]], user data. */
export function writeAssignment(assignment: Assignment): Buffer {
  const words = new Words();
  words.int16(0);
  words.int32(assignment.size);
  for (const [topic, partitions] of assignment) {
    words.text(topic);
    words.int32(partitions.length);
    for (const partition of partitions) words.int32(partition);
  }
  words.int32(-1);
  return words.bytes();
}

export function readAssignment(bytes: Buffer): Assignment {
  // A member without partitions may get no bytes at all.
  if (bytes.length === 0) return new Map();
  const reader = new WordReader(bytes);
  reader.int16();
  return new Map(
    Array.from({ length: reader.count() }, () => {
      const topic = reader.text();
      return [topic, Array.from({ length: reader.count() }, () => reader.int32())] as const;
    }),
  );
}

class Words {
  readonly #parts: Buffer[] = [];
  int16(value: number): void {
    const part = Buffer.alloc(2);
    part.writeInt16BE(value);
    this.#parts.push(part);
  }
  int32(value: number): void {
    const part = Buffer.alloc(4);
    part.writeInt32BE(value);
    this.#parts.push(part);
  }
  text(value: string): void {
    this.int16(Buffer.byteLength(value));
    this.#parts.push(Buffer.from(value));
  }
  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** Reads what another member wrote: lengths and counts must fit what is there. */
class WordReader {
  readonly #bytes: Buffer;
  #at = 0;
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }
  int16(): number {
    this.#at += 2;
    return this.#bytes.readInt16BE(this.#at - 2);
  }
  int32(): number {
    this.#at += 4;
    return this.#bytes.readInt32BE(this.#at - 4);
  }
  /** Of things that have two bytes at least. */
  count(): number {
    return this.#fits(this.int32(), 2);
  }
  #fits(count: number, bytes: number): number {
    if (count < 0 || count * bytes > this.#bytes.length - this.#at)
      throw new RangeError(`must fit ${this.#bytes.length - this.#at} bytes: ${count}`);
    return count;
  }
  text(): string {
    const length = this.#fits(this.int16(), 1);
    this.#at += length;
    return this.#bytes.toString('utf8', this.#at - length, this.#at);
  }
}
