/**
 * Goal: no bytes that come as an answer crash a thread, hold it up, or take memory beyond the answer.
 * Method: every parser that we use, the library's too, with random bytes, with bytes that make lengths and counts huge or
 * negative, and with answers that are cut anywhere. Each run has a limit of time, and what it returns a limit of size.
 */
import { createServer, type Socket } from 'node:net';
import {
  apiVersionsV3,
  crc32c,
  createRecordsBatch,
  createTopicsV5,
  createTopicsV7,
  findCoordinatorV4,
  heartbeatV4,
  initProducerIdV2,
  initProducerIdV4,
  joinGroupV7,
  joinGroupV9,
  leaveGroupV4,
  listOffsetsV7,
  metadataV9,
  metadataV12,
  offsetCommitV8,
  offsetFetchV8,
  Reader,
  ResponseError,
  syncGroupV5,
  Writer,
} from '@platformatic/kafka';
import { expect, test } from 'vitest';
import { parseProduce } from '../../../src/sinks/kafka/produce.ts';
import { BrokerConnection, type Parser, readable } from '../../../src/store/kafka/answer.ts';
import { KafkaFailure } from '../../../src/store/kafka/failure.ts';
import { fetchParser } from '../../../src/store/kafka/fetch.ts';
import {
  readAssignment,
  readSubscription,
  writeAssignment,
  writeSubscription,
} from '../../../src/store/kafka/group.ts';
import { Partition } from '../../../src/store/kafka/partition.ts';

/** The parser that a call of the library hands to its connection. */
function parserOf(call: unknown): Parser<unknown> {
  let parser: Parser<unknown> | undefined;
  const connection = { send: (...args: unknown[]) => (parser = args[3] as Parser<unknown>) };
  (call as (connection: unknown) => void)(connection);
  return parser!;
}

const calls = {
  apiVersionsV3,
  createTopicsV5,
  createTopicsV7,
  findCoordinatorV4,
  heartbeatV4,
  initProducerIdV2,
  initProducerIdV4,
  joinGroupV7,
  joinGroupV9,
  leaveGroupV4,
  listOffsetsV7,
  metadataV9,
  metadataV12,
  offsetCommitV8,
  offsetFetchV8,
  syncGroupV5,
};
const parsers: Readonly<Record<string, Parser<unknown>>> = {
  produce: parseProduce,
  fetch: fetchParser([]),
  ...Object.fromEntries(Object.entries(calls).map(([name, { api }]) => [name, parserOf(api)])),
};

function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Bytes that are counts, lengths and ends of them; a small share of other bytes. */
const hostile = [0x00, 0x01, 0x02, 0x03, 0x7f, 0x80, 0xff, 0x0f];

const LARGE = 64 * 1024;
const OUT_OF_TIME_MS = 5000;

for (const [name, parser] of Object.entries(parsers))
  test(`any bytes are an answer of ${name}, or unreadable, in bounded time`, () => {
    const random = randomFrom(name.length);
    const inputs = [
      ...Array.from({ length: 400 }, () => Buffer.alloc(random(120)).map(() => random(256)) as Buffer),
      ...Array.from(
        { length: 400 },
        () => Buffer.alloc(random(120)).map(() => (random(8) === 0 ? random(256) : hostile[random(8)]!)) as Buffer,
      ),
      ...hostile.map((byte) => Buffer.alloc(LARGE, byte)),
      ...hostile.map((byte) => Buffer.concat([Buffer.alloc(14), Buffer.alloc(LARGE, byte)])),
      Buffer.alloc(LARGE).map((_, i) => (i % 5 === 4 ? 0x07 : 0xff)) as Buffer,
    ];
    let unreadable = 0;
    for (const bytes of inputs) {
      const begun = performance.now();
      try {
        const answer = readable(parser)(1, 0, 9, Reader.from(Buffer.from(bytes)));
        expect(sizeOf(answer)).toBeLessThanOrEqual(16 + 2 * bytes.length);
      } catch (error) {
        if (error instanceof ResponseError) continue;
        expect(error).toBeInstanceOf(KafkaFailure);
        expect(error).toMatchObject({ verdict: 'retry', code: 'UNREADABLE_ANSWER' });
        unreadable += 1;
      }
      expect(performance.now() - begun).toBeLessThan(OUT_OF_TIME_MS);
    }
    expect(unreadable).toBeGreaterThan(50);
  });

function withChecksum(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(crc32c(Writer.create().append(bytes.subarray(21)).dynamicBuffer), 17);
  return bytes;
}

/** Things in an answer: entries of its lists, and what hangs on them. */
function sizeOf(value: unknown): number {
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return 0;
  const list = Array.isArray(value) ? value : value instanceof Map ? [...value.values()] : Object.values(value);
  return (Array.isArray(value) ? value.length : 0) + list.reduce((sum: number, one) => sum + sizeOf(one), 0);
}

test('what another member of the group wrote is read within its bytes, or not at all', () => {
  const random = randomFrom(7);
  const subscription = writeSubscription(['a', 'topic']);
  const assignment = writeAssignment(new Map([['topic', [0, 1, 2]]]));
  for (let i = 0; i < 3000; i++)
    for (const [sample, read] of [
      [subscription, readSubscription],
      [assignment, readAssignment],
    ] as const) {
      const bytes = Buffer.from(sample.subarray(0, random(2) === 0 ? sample.length : random(sample.length)));
      for (let n = random(4); n > 0 && bytes.length > 0; n--) bytes[random(bytes.length)] = hostile[random(8)]!;
      try {
        const found = read(bytes);
        expect(Array.isArray(found) ? found.length : found.size).toBeLessThanOrEqual(bytes.length);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }
  // Two billion names of length -2, which would be read over the same two bytes.
  expect(() => readSubscription(Buffer.from('00007fffffffffffe0000000', 'hex'))).toThrow(RangeError);
  expect(() => readSubscription(Buffer.from('000000000002fffefffe', 'hex'))).toThrow(RangeError);
});

// A checksum proves that a batch is as its writer made it, not that the writer was sound.
test('record batches that lie about lengths, counts and offsets fail or become gaps, in bounded time', () => {
  const random = randomFrom(11);
  const sound = createRecordsBatch(
    ['a', 'b', 'c'].map((value) => ({
      topic: 't',
      key: Buffer.from('k'),
      value: Buffer.from(value),
      timestamp: 1n,
    })) as never,
    { compression: 'none' } as never,
  ).buffer;
  let [formats, gaps] = [0, 0];
  for (let i = 0; i < 6000; i++) {
    const bytes = Buffer.from(sound);
    for (let n = 1 + random(3); n > 0; n--) {
      const at = random(4) === 0 ? 8 + random(4) : 21 + random(bytes.length - 21);
      bytes[at] = hostile[random(8)]!;
    }
    const partition = new Partition('t', 0, 0);
    const begun = performance.now();
    try {
      partition.add({
        topic: 't',
        partition: 0,
        code: 0,
        end: 2,
        logStart: 0,
        aborted: [],
        records: withChecksum(bytes),
      });
      for (let record = partition.read(), n = 0; record !== undefined; record = partition.read()) {
        partition.pass(record);
        expect(record.offset).toBeLessThan(partition.fetchFrom);
        expect(n++).toBeLessThan(bytes.length);
      }
      if (partition.gap !== undefined) {
        // It ends where the next batch begins, so nothing of that is lost.
        expect(partition.gap).toEqual({ from: partition.position, to: partition.fetchFrom, reason: 'damaged' });
        gaps += 1;
      }
    } catch (error) {
      expect(error, bytes.toString('hex')).toBeInstanceOf(KafkaFailure);
      formats += 1;
    }
    expect(performance.now() - begun).toBeLessThan(OUT_OF_TIME_MS);
  }
  expect(formats).toBeGreaterThan(50);
  expect(gaps).toBeGreaterThan(500);
});

// A broker that answers with nothing more than this would be asked again at once, for ever.
test('an answer that does not reach beyond the offset asked for is a failure', () => {
  const torn = Buffer.alloc(40, 1);
  const partition = new Partition('t', 0, 5);
  const answer = { topic: 't', partition: 0, code: 0, end: 9, logStart: 0, aborted: [] };
  expect(() => partition.add({ ...answer, records: torn })).toThrow(/beyond offset 5/);
  partition.add({ ...answer, records: Buffer.alloc(0) });
  expect(partition.hasMore).toBe(false);
});

// Goal: a length that no answer has ends the connection at once, and takes no memory.
// Method: a server that sends it, and then as much as the client would take.
for (const length of [-1, 0, 3, 100 * 2 ** 20 + 1, 2 ** 31 - 1])
  test(`a frame of ${length} bytes ends the connection`, async (t) => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.once('data', () => {
        const head = Buffer.alloc(4);
        head.writeInt32BE(length);
        socket.write(Buffer.concat([head, Buffer.alloc(64)]));
      });
    });
    t.onTestFinished(() => void server.close());
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const connection = new BrokerConnection('test', { requestTimeout: 5000 });
    let problem: unknown;
    connection.on('error', (error) => {
      problem = error.cause;
    });
    await connection.open('127.0.0.1', (server.address() as { port: number }).port);
    const begun = performance.now();
    await expect(apiVersionsV3.api.async(connection, 'test', '1')).rejects.toThrow();
    expect(performance.now() - begun).toBeLessThan(3000);
    expect(problem).toMatchObject({ code: 'UNREADABLE_ANSWER', verdict: 'retry' });
    await expect.poll(() => sockets[0]!.destroyed || sockets[0]!.readableEnded).toBe(true);
  });
