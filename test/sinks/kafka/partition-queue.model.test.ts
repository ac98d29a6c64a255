/**
 * The queue of a partition against a model of a broker, with random answers, cuts and refusals: every batch is appended
 * once and in order, whatever was lost on the way. A failing run prints its seed; SEED=n repeats it.
 */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { freshPart, type Part, PartitionQueue } from '../../../src/sinks/kafka/partition-queue.ts';
import { kafkaCode } from '../../../src/store/kafka/failure.ts';

function randomFrom(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** What Kafka does with an idempotent producer's batches: the checks of its ProducerStateManager, in its order. */
class ModelBroker {
  readonly log: number[] = [];
  /** Batches that the broker answered for with a refusal after it had taken them. */
  readonly kept = new Set<number>();
  /** The broker has forgotten a producer: only then may a batch be appended twice. */
  forgot = false;
  #producer = -2n;
  #expected = 0;
  #last: { sequence: number; count: number }[] = [];

  take(bytes: Buffer, count: number, name: number, refused: boolean): number {
    // Kafka looks at size and times before it looks for duplicates: a batch that it has may be refused.
    if (refused) {
      if (this.log.includes(name)) this.kept.add(name);
      return kafkaCode.messageTooLarge;
    }
    const producer = bytes.readBigInt64BE(43);
    const sequence = bytes.readInt32BE(53);
    if (producer === this.#producer) {
      if (this.#last.some((one) => one.sequence === sequence && one.count === count)) return kafkaCode.none;
      if (sequence !== this.#expected) return kafkaCode.outOfOrderSequence;
    } else if (sequence !== 0 && this.#producer !== -2n) {
      return kafkaCode.outOfOrderSequence;
    } else {
      this.#last = []; // a producer's batches are known by its own numbers
    }
    this.#producer = producer;
    this.#expected = (sequence + count) % 2 ** 31;
    this.#last = [...this.#last.slice(-4), { sequence, count }];
    this.log.push(name);
    return kafkaCode.none;
  }

  forget(): void {
    this.forgot = true;
    this.#expected = -1;
    this.#last = [];
  }
}

function run(seed: number, forgetful: boolean): { duplicates: number; counted: number } {
  const random = randomFrom(seed);
  const broker = new ModelBroker();
  const queue = new PartitionQueue(true, 5);
  const names = new Map<Part, number>();
  const refusedNames = new Set<number>();
  const delivered: number[] = [];
  let line: Part[] = []; // requests on the connection, oldest first
  let added = 0;
  let producers = 0n;
  /** Refused batches that the broker may have: only then may an identity be given up. */
  let doubtful = 0;
  const add = () => {
    const part = freshPart({ partition: 0, bytes: Buffer.alloc(70), count: 1 + Math.floor(random() * 9) });
    names.set(part, added);
    if (random() < 0.03) refusedNames.add(added);
    added += 1;
    queue.add(part);
  };
  const isRefused = (part: Part) => refusedNames.has(names.get(part)!);
  const take = (part: Part) => broker.take(part.bytes, part.count, names.get(part)!, isRefused(part));
  /** Somebody makes the limits of the topic narrower while the answer to a batch is lost. */
  const narrow = (part: Part) => {
    if (random() < 0.2) refusedNames.add(names.get(part)!);
  };
  const answer = (part: Part, code: number) => {
    if (part.unknown && code === kafkaCode.messageTooLarge) doubtful += 1;
    if (queue.answered(part, code, code === kafkaCode.messageTooLarge) === 'delivered')
      delivered.push(names.get(part)!);
  };
  for (let step = 0; step < 3000 || queue.parts.length > 0; step++) {
    assert.ok(step < 20_000, 'the queue does not empty');
    const calm = step >= 3000; // from here on nothing goes wrong any more
    if (!calm && added < 300 && random() < 0.3) add();
    if (queue.needsIdentity) queue.renew({ id: producers++, epoch: 0 });
    if (random() < 0.7) {
      const part = queue.next();
      if (part) line.push(part);
    }
    if (line.length === 0) continue;
    const dice = calm ? 1 : random();
    if (dice < 0.05) {
      // The connection ends: the broker has seen a part of what was on it.
      const seen = Math.floor(random() * (line.length + 1));
      for (const part of line.slice(0, seen)) take(part);
      for (const part of line) queue.unanswered(part);
      if (line[0] !== undefined) narrow(line[0]);
      line = [];
    } else if (dice < 0.1) {
      answer(line.shift()!, random() < 0.5 ? kafkaCode.notLeaderOrFollower : kafkaCode.notEnoughReplicas); // not appended
    } else if (dice < 0.13) {
      const part = line.shift()!;
      const code = take(part); // appended, and the replicas did not confirm in time
      answer(part, code === kafkaCode.none ? kafkaCode.notEnoughReplicasAfterAppend : code);
    } else if (forgetful && dice < 0.135) {
      broker.forget();
    } else {
      const part = line.shift()!;
      answer(part, take(part));
    }
  }
  const all = Array.from({ length: added }, (_, name) => name);
  const reported = [...delivered].sort((a, b) => a - b);
  const taken = new Set(broker.log);
  assert.deepEqual(
    reported.filter((name) => !taken.has(name)),
    [],
    'a batch that is reported delivered is in the log',
  );
  const wanted = all.filter((name) => !refusedNames.has(name) || delivered.includes(name));
  assert.deepEqual(reported, wanted, 'each batch is reported delivered once');
  const once = [...taken].filter((name) => !broker.kept.has(name) || delivered.includes(name));
  assert.deepEqual(once, wanted, 'each batch is in the log, in order, and no refused one');
  if (!forgetful) assert.ok(producers <= 1 + doubtful, 'a new identity was taken without need');
  return { duplicates: broker.log.length - taken.size, counted: queue.duplicatesMax };
}

const seeds = process.env['SEED']
  ? [Number(process.env['SEED'])]
  : Array.from({ length: process.env['LONG'] ? 5000 : 300 }, (_, i) => i + 1);

test('every batch is appended exactly once and in order through cuts, refusals and lost answers', () => {
  for (const seed of seeds) {
    try {
      assert.equal(run(seed, false).duplicates, 0, 'a batch was appended twice');
    } catch (error) {
      throw new Error(`SEED=${seed}`, { cause: error });
    }
  }
});

test('a broker that forgets its producers may get a batch twice, which is counted, and never loses one', () => {
  let duplicates = 0;
  for (const seed of seeds) {
    try {
      const run1 = run(seed, true);
      duplicates += run1.duplicates;
      if (run1.duplicates > 0) assert.ok(run1.counted > 0, 'a duplicate was not counted');
    } catch (error) {
      throw new Error(`SEED=${seed}`, { cause: error });
    }
  }
  assert.ok(duplicates > 0, 'no run came across a duplicate: the model proves nothing');
});
