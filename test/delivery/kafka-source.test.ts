/**
 * Goal: what lies in a topic reaches the target once, whatever happens to the member, the group and the broker.
 * Method: a real broker; members are real runners over a target whose rows and cursors move together.
 */
import assert from 'node:assert/strict';
import { beforeAll, expect, test } from 'vitest';
import { GroupMember } from '../../src/store/kafka/group.ts';
import { KafkaLinks } from '../../src/store/kafka/links.ts';
import { type KafkaCluster, startKafka } from '../servers/kafka.ts';
import { fileScope } from '../servers/scope.ts';
import { client, makeTopic, removeTopic } from '../servers/topics.ts';
import { configOf, deliverAll, event, events, openPatiently } from '../sinks/kafka/events.ts';
import { committed, Member, produce, Refused, Store, until } from './members.ts';

const file = fileScope();
let kafka: KafkaCluster;
let brokers: string;
beforeAll(async () => {
  kafka = await startKafka(file, { port: 21700, own: true });
  brokers = kafka.brokers.join(',');
});

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => `{"n":${from + i}}`);

/** Each value once, and in order within its partition. */
function assertEach(store: Store, values: readonly string[]): void {
  const seen = store.values();
  const [stored, sent] = [new Set(seen), new Set(values)];
  const missing = values.filter((value) => !stored.has(value));
  const strange = seen.filter((value) => !sent.has(value));
  const some = (list: readonly string[]) => list.slice(0, 5);
  assert.deepEqual(
    { missing: some(missing), strange: some(strange), twice: seen.length - stored.size },
    { missing: [], strange: [], twice: 0 },
  );
  for (const partition of new Set(store.rows.map((row) => row.partition))) {
    const offsets = store.rows.filter((row) => row.partition === partition).map(({ offset }) => offset);
    assert.deepEqual(
      offsets,
      offsets.toSorted((a, b) => a - b),
      `order in partition ${partition}`,
    );
  }
}

for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd'])
  test(`records arrive with their values, keys and times: ${codec}`, async () => {
    const topic = `codec-${codec}`;
    const env = { KAFKA_BROKERS: brokers, KAFKA_TOPIC: topic, KAFKA_PARTITIONS: '3', KAFKA_COMPRESSION: codec };
    const sink = await openPatiently(env);
    const sent = [...events(0, 3000), event(3000, { extra: { text: 'x'.repeat(700_000) } })];
    await deliverAll(sink, sent, 500);
    await sink.close();
    const store = new Store();
    const member = new Member(store, { brokers, topics: [topic], groupId: topic });
    await until('all rows', () => store.rows.length >= sent.length);
    await member.drain();
    assertEach(
      store,
      sent.map(({ line }) => line),
    );
    const byKey = new Map(store.rows.map((row) => [row.key, row]));
    for (const { id, line, tsMs } of sent) {
      const row = byKey.get(id)!;
      assert.deepEqual([row.value, row.timeMs], [line, tsMs]);
    }
    expect(member.ledger).toEqual({ passed: 3001, delivered: 3001, dead: 0, givenUp: 0, skipped: 0 });
    const offsets = [...(await committed(brokers, topic, topic)).values()];
    expect(offsets.reduce((sum, offset) => sum + offset, 0)).toBe(3001);
  });

test('a second member takes its share, and a third of the records comes while the group deals anew: each once', async () => {
  await makeTopic(brokers, 'share', 4);
  await produce(brokers, 'share', 0, 4000, 4);
  const store = new Store();
  // Batches are under way while the group deals anew.
  store.before = () => new Promise((resolve) => setTimeout(resolve, 10));
  const one = new Member(store, { brokers, topics: ['share'], groupId: 'share', name: 'one' });
  await until('a quarter', () => store.rows.length > 1000);
  const two = new Member(store, { brokers, topics: ['share'], groupId: 'share', name: 'two' });
  await until('two has strands', () => two.source.strands.length === 2);
  await produce(brokers, 'share', 4000, 6000, 4);
  await until('all rows', () => store.rows.length >= 6000);
  expect(one.source.strands.length).toBe(2);
  expect(new Set(store.rows.filter((row) => row.member === 'two').map((row) => row.partition)).size).toBe(2);
  await one.drain();
  await until('two has all', () => two.source.strands.length === 4);
  await produce(brokers, 'share', 6000, 7000, 4);
  await until('the last rows', () => store.rows.length >= 7000);
  await two.drain();
  assertEach(store, numbers(0, 7000));
  expect([...(await committed(brokers, 'share', 'share')).values()]).toEqual([1750, 1750, 1750, 1750]);
});

test('a member whose target hangs loses its strands; who gets them goes on, and nothing is stored twice', async () => {
  await makeTopic(brokers, 'hang', 2);
  await produce(brokers, 'hang', 0, 2000, 2);
  const store = new Store();
  let fail = true;
  store.before = (_, member) => {
    if (member === 'one' && fail && store.rows.length >= 400) throw new Error('away');
  };
  const one = new Member(store, { brokers, topics: ['hang'], groupId: 'hang', name: 'one' });
  await until('it is stuck', () => one.board.state(0) === 'down');
  const two = new Member(store, { brokers, topics: ['hang'], groupId: 'hang', name: 'two' });
  await until('two has its share', () => two.source.strands.length === 1);
  await until('the share is delivered', () => store.rows.filter((row) => row.member === 'two').length >= 700);
  fail = false;
  await until('all rows', () => store.rows.length >= 2000);
  await Promise.all([one.drain(), two.drain()]);
  assertEach(store, numbers(0, 2000));
});

test('a broker that restarts costs time and nothing else', async () => {
  await makeTopic(brokers, 'restart', 3);
  await produce(brokers, 'restart', 0, 3000, 3);
  const store = new Store();
  store.before = () => new Promise((resolve) => setTimeout(resolve, 5));
  const member = new Member(store, { brokers, topics: ['restart'], groupId: 'restart' });
  await until('a third', () => store.rows.length > 1000);
  await kafka.kill9();
  await until('it is told', () => member.board.state(0) !== 'up' || store.rows.length === 3000);
  await kafka.start();
  await produce(brokers, 'restart', 3000, 4000, 3);
  await until('all rows', () => store.rows.length >= 4000, 90_000);
  await until('it is up', () => member.board.state(0) === 'up');
  await member.drain();
  assertEach(store, numbers(0, 4000));
});

test('a record that the target refuses goes to the dead letters with its value, the good ones around it arrive', async () => {
  await makeTopic(brokers, 'poison', 1);
  await produce(brokers, 'poison', 0, 50, 1);
  const producer = client(brokers).producer();
  await producer.connect();
  await producer.send({ topic: 'poison', messages: [{ key: 'p', value: 'not JSON: \u0000ä' }] });
  await producer.disconnect();
  await produce(brokers, 'poison', 50, 100, 1);
  const store = new Store();
  store.before = (values) => {
    if (values.some((value) => !value.startsWith('{'))) throw new Refused('no JSON');
  };
  const member = new Member(store, { brokers, topics: ['poison'], groupId: 'poison', batch: 1000 });
  await until('all rows', () => store.rows.length >= 100 && member.ledger.dead === 1);
  await member.drain();
  assertEach(store, numbers(0, 100));
  expect(member.letters).toEqual([
    { lane: 'poison/0', position: 50, reason: 'no JSON', event: 'not JSON: \u0000ä', key: 'p' },
  ]);
  expect(member.ledger).toEqual({ passed: 101, delivered: 100, dead: 1, givenUp: 0, skipped: 0 });
  expect((await committed(brokers, 'poison', 'poison')).get(0)).toBe(101);
});

test('records of a transaction that was aborted do not arrive, and markers do not count as lag', async () => {
  await makeTopic(brokers, 'transactions', 1);
  const producer = client(brokers).producer({ transactionalId: 'tx', idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let round = 0; round < 6; round++) {
    const transaction = await producer.transaction();
    await transaction.send({
      topic: 'transactions',
      messages: [{ value: `{"n":${round}}` }, { value: `{"m":${round}}` }],
    });
    await (round % 2 === 0 ? transaction.commit() : transaction.abort());
  }
  await producer.disconnect();
  const store = new Store();
  const member = new Member(store, { brokers, topics: ['transactions'], groupId: 'transactions' });
  await until('the committed rows', () => store.rows.length >= 6 && member.board.get(0, 'lagRecords') === 0);
  await member.drain();
  assertEach(
    store,
    [0, 2, 4].flatMap((round) => [`{"n":${round}}`, `{"m":${round}}`]),
  );
  expect(member.ledger).toEqual({ passed: 6, delivered: 6, dead: 0, givenUp: 0, skipped: 0 });
});

test('records that are gone before they were read are given up and counted', async () => {
  await makeTopic(brokers, 'gone', 1);
  await produce(brokers, 'gone', 0, 1000, 1);
  const store = new Store();
  const first = new Member(store, { brokers, topics: ['gone'], groupId: 'gone' });
  await until('all rows', () => store.rows.length >= 1000);
  await first.drain();
  await produce(brokers, 'gone', 1000, 2000, 1);
  const admin = client(brokers).admin();
  await admin.connect();
  await admin.fetchTopicMetadata({ topics: ['gone'] });
  await admin.deleteTopicRecords({ topic: 'gone', partitions: [{ partition: 0, offset: '1400' }] });
  await admin.disconnect();
  const second = new Member(store, { brokers, topics: ['gone'], groupId: 'gone' });
  await until('the rest', () => store.rows.length >= 1600);
  await second.drain();
  assertEach(store, [...numbers(0, 1000), ...numbers(1400, 2000)]);
  expect(second.ledger).toEqual({ passed: 1000, delivered: 600, dead: 0, givenUp: 400, skipped: 0 });
});

test('a new group that starts with the latest gets what comes after it has joined, also after a member that stored nothing', async () => {
  await makeTopic(brokers, 'latest', 1);
  await produce(brokers, 'latest', 0, 100, 1);
  const store = new Store();
  const options = { brokers, topics: ['latest'], groupId: 'latest', start: 'latest', keeps: false } as const;
  const first = new Member(store, options);
  await until('it has joined', () => first.source.strands.length === 1);
  await first.drain();
  await produce(brokers, 'latest', 100, 200, 1);
  const second = new Member(store, options);
  await until('all rows', () => store.rows.length >= 100);
  await second.drain();
  assertEach(store, numbers(100, 200));
});

test('a topic that comes later is read from its beginning; until then readiness says what is missing', async () => {
  const store = new Store();
  const member = new Member(store, { brokers, topics: ['later'], groupId: 'later' });
  await until('it says so', () => member.board.reason(0).includes('the topic does not exist: topic=later'));
  await makeTopic(brokers, 'later', 2);
  await produce(brokers, 'later', 0, 100, 2);
  await until('all rows', () => store.rows.length >= 100);
  await until('it is up', () => member.board.state(0) === 'up');
  await member.drain();
  assertEach(store, numbers(0, 100));
});

// Goal: offsets of a topic mean nothing in another one of the same name, or its first records would be passed over.
// Method: the new topic has more records than the old one had, so that the old offset lies within it.
for (const keeps of [true, false])
  for (const running of [true, false])
    test(`a topic that is made anew is read from its first record: ${running ? 'while a member runs' : 'between two members'}, ${keeps ? 'the target keeps cursors' : 'only the group knows'}`, async () => {
      const topic = `anew-${keeps}-${running}`;
      const store = new Store();
      const options = { brokers, topics: [topic], groupId: topic, keeps };
      await makeTopic(brokers, topic, 2);
      await produce(brokers, topic, 0, 100, 2);
      const first = new Member(store, options);
      await until('the rows of the first topic', () => store.rows.length >= 100);
      await expect.poll(async () => [...(await committed(brokers, topic, topic)).values()]).toEqual([50, 50]);
      if (!running) await first.drain();
      await removeTopic(brokers, topic);
      await makeTopic(brokers, topic, 2);
      await produce(brokers, topic, 1000, 1300, 2);
      const member = running ? first : new Member(store, options);
      await until('the rows of the second topic', () => store.rows.length >= 400);
      await member.drain();
      assertEach({ values: () => store.values(), rows: store.rows.slice(100) } as Store, [
        ...numbers(0, 100),
        ...numbers(1000, 1300),
      ]);
      expect([...(await committed(brokers, topic, topic)).values()]).toEqual([150, 150]);
    });

// A broker forgets the offsets of a topic that it deletes, but a member that still runs may commit them once more.
test("a group's offset that names another topic is none of this one, and one that names none is", async () => {
  await makeTopic(brokers, 'named', 1);
  await produce(brokers, 'named', 0, 100, 1);
  const links = new KafkaLinks(configOf({ KAFKA_BROKERS: brokers }), { clientId: 'test' });
  const limits = { sessionTimeoutMs: 6000, rebalanceTimeoutMs: 6000 };
  // No member: as tools commit to a group that nobody is in.
  const tool = new GroupMember(links, { groupId: 'named', topics: ['named'], ...limits });
  const read = async (id: string | undefined): Promise<number> => {
    await tool.commit(new Map([['named', new Map([[0, 60]])]]), new Map([['named', id]]));
    const store = new Store();
    const member = new Member(store, { brokers, topics: ['named'], groupId: 'named', keeps: false });
    await until('the last row', () => store.values().includes('{"n":99}'));
    await member.drain();
    return store.rows.length;
  };
  expect(await read(undefined)).toBe(40);
  expect(await read('0193a000-0000-7000-8000-000000000001')).toBe(100);
  await links.close();
});
