/**
 * What does an event cost on its way from the ring to the acknowledgement of a Kafka broker, beside other clients on the same
 * broker? Same events (about 450 bytes), acks=all, idempotent producers, one topic of three partitions.
 *
 *   ours          reads the ring, encodes, compresses, sends and waits for the acknowledgement; key, two headers, time
 *   kafkajs       without a codec; messages are made of the same slices
 *   kcat          librdkafka, in C: reads keys and values from a file; no headers. What a native client needs
 *
 * Figures are CPU time of all threads of the client, garbage collection included, not wall clock: the broker runs on the
 * same cores. The number of messages in the topic is compared with what was sent; a run that differs is void.
 */
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import kafkajs from 'kafkajs';
import type { SinkTarget } from '../../src/delivery/contract.ts';
import { Batch } from '../../src/engine/batch.ts';
import { LaneReader } from '../../src/engine/lane-reader.ts';
import { at, EVENT_KIND, EVENT_VERSION, putRecord, recordBytes } from '../../src/events/record.ts';
import { loadConfig } from '../../src/kernel/config.ts';
import { createLog } from '../../src/kernel/log.ts';
import { type KafkaConfig, kafkaConfig } from '../../src/sinks/kafka/config.ts';
import { kafkaSink } from '../../src/sinks/kafka/sink.ts';
import { ensureCommand } from '../../test/servers/apt.ts';
import { benchJava, kafkaVersion, startKafka } from '../../test/servers/kafka.ts';
import { makeTopic } from '../../test/servers/topics.ts';
import { benchLane, id as laneId, scratch } from '../rig/lane-rig.ts';
import { libraryVersion, versionBehind } from '../rig/machine.ts';
import { type Kind, type MicroResult, mark } from '../rig/micro.ts';
import { ownCpuUs } from '../rig/proc.ts';
import type { Goal } from '../rig/report.ts';
import { madeEvent } from '../rig/sink-events.ts';
import { spread } from '../rig/stats.ts';

const PORT = 21400;
const PARTITIONS = 3;
/** Events per run: with 16 MiB of ring they fit beside each other. */
const EVENTS = 20_000;
/** kcat is a process per run: what its start costs is spread over this many times the events. */
const KCAT_TIMES = 5;
const rounds = Number(process.env['ROUNDS'] ?? 6);
const only = process.env['ONLY'];

// The broker needs cores of its own, also when the caller has pinned this process.
const cores = Number(execFileSync('nproc', ['--all'], { encoding: 'utf8' }));
execFileSync('taskset', ['-apc', `0-${cores - 1}`, String(process.pid)]);

const rows = Array.from({ length: EVENTS }, madeEvent);

const kafka = await startKafka(undefined, { port: PORT, own: true, java: benchJava });
const brokers = kafka.brokers.join();
await ensureCommand('kcat', 'kcat');
const admin = new kafkajs.Kafka({ brokers: kafka.brokers, logLevel: kafkajs.logLevel.NOTHING }).admin();
await admin.connect();

interface Client {
  /** Sends all events once, kcat KCAT_TIMES. */
  send(): Promise<void>;
  cpuUs(): number;
  close(): Promise<unknown>;
}

interface Case {
  readonly name: string;
  readonly kind?: Kind;
  readonly times?: number;
  open(topic: string): Promise<Client>;
}

/** All events in a ring, read as the runner reads them. */
function lane(recordsPerBatch: number, bytes: number) {
  const { writer, ring } = benchLane(false, 1);
  const reader = new LaneReader({ id: laneId, ring }, 0, { position: 0, record: 0 }, undefined);
  const free: Batch[] = [];
  return {
    fill() {
      for (const [n, { tsMs, line }] of rows.entries()) {
        const from = writer.begin(recordBytes(line.length));
        putRecord(writer.buffer, from, Buffer.from(line), tsMs);
        writer.commit(from + at.json + line.length + 1, EVENT_KIND, EVENT_VERSION);
        if (n % 32 === 31 || n === rows.length - 1) writer.publish();
      }
    },
    next(): Batch | undefined {
      const batch = free.pop() ?? new Batch(bytes);
      batch.begin(laneId, reader.mark);
      while (batch.count < recordsPerBatch && reader.fill(batch, recordsPerBatch)) {}
      if (batch.count === 0) free.push(batch);
      return batch.count > 0 ? batch : undefined;
    },
    done(batch: Batch) {
      reader.advance(batch.to);
      free.push(batch);
    },
  };
}

function ours(codec: string, recordsPerBatch = 5000): Case['open'] {
  return async (topic) => {
    const env = {
      KAFKA_BROKERS: brokers,
      KAFKA_TOPIC: topic,
      KAFKA_COMPRESSION: codec,
      KAFKA_PARTITIONS: String(PARTITIONS),
    };
    const config = loadConfig([kafkaConfig], { env, argv: [] }).values['kafka'] as unknown as KafkaConfig;
    const log = createLog({ level: 'silent', destination: 2, name: 'bench' });
    const context = {
      name: 'kafka',
      logId: '',
      journal: true,
      state: undefined,
      log,
      signal: new AbortController().signal,
      ended: () => false,
    };
    const target: SinkTarget = await patiently(() => kafkaSink.open(config, context));
    const events = lane(recordsPerBatch, kafkaSink.batching(config).bytes);
    let spentUs = 0;
    return {
      async send() {
        events.fill();
        const begin = ownCpu();
        const flying: Promise<Batch>[] = [];
        for (let batch = events.next(); batch; batch = events.next()) {
          const taken = batch;
          const previous = flying.at(-1)?.then(() => undefined) ?? Promise.resolve();
          flying.push(target.write({ ...whole(taken), commit: true }, previous).then(() => taken));
          if (flying.length >= target.inFlightMax) events.done(await flying.shift()!);
        }
        for (const one of flying) events.done(await one);
        spentUs += ownCpu() - begin;
      },
      cpuUs: () => spentUs,
      close: () => target.close(),
    };
  };
}

const whole = ({ lane, count, buffer, offsets, positions, from, to }: Batch) => ({
  lane,
  count,
  buffer,
  offsets,
  positions,
  from,
  to,
});

function kafkaJs(compression: kafkajs.CompressionTypes): Case['open'] {
  return async (topic) => {
    await makeTopic(kafka.brokers[0]!, topic, PARTITIONS);
    const client = new kafkajs.Kafka({ clientId: 'bench', brokers: kafka.brokers, logLevel: kafkajs.logLevel.NOTHING });
    const producer = client.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    });
    await producer.connect();
    let spentUs = 0;
    const slices = rows.map(({ id, tsMs, line }) => ({
      key: Buffer.from(id),
      value: Buffer.from(line),
      timestamp: String(tsMs),
    }));
    return {
      async send() {
        const begin = ownCpu();
        for (let i = 0; i < slices.length; i += 2000) {
          const messages = slices
            .slice(i, i + 2000)
            .map((one) => ({ ...one, headers: { event_type: 'pageview', schema: 'v1' } }));
          await producer.send({ topic, messages, compression, acks: -1 });
        }
        spentUs += ownCpu() - begin;
      },
      cpuUs: () => spentUs,
      close: () => producer.disconnect(),
    };
  };
}

const input = join(scratch, 'kcat-input');
writeFileSync(
  input,
  rows
    .map(({ id, line }) => `${id}\t${line}\n`)
    .join('')
    .repeat(KCAT_TIMES),
);

function kcat(codec: string): Case['open'] {
  return async (topic) => {
    await makeTopic(kafka.brokers[0]!, topic, PARTITIONS);
    let spentUs = 0;
    return {
      async send() {
        // Children count once they have ended; nothing else of this process runs meanwhile.
        const [begin, own] = [ownCpuUs(), ownCpu()];
        const settings = ['acks=all', 'enable.idempotence=true', `compression.codec=${codec}`, 'linger.ms=5'].flatMap(
          (one) => ['-X', one],
        );
        const child = spawn('kcat', ['-P', '-b', brokers, '-t', topic, '-K', '\t', ...settings, '-l', input], {
          stdio: 'ignore',
        });
        const code = await new Promise((resolve) => child.once('exit', resolve));
        if (code !== 0) throw new Error(`kcat failed: status=${code}`);
        spentUs += ownCpuUs() - begin - (ownCpu() - own);
      },
      cpuUs: () => spentUs,
      close: async () => {},
    };
  };
}

function ownCpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let left = 50; ; left--) {
    try {
      return await work();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function messagesIn(topic: string): Promise<number> {
  const ends = await admin.fetchTopicOffsets(topic);
  return ends.reduce((sum, { high }) => sum + Number(high), 0);
}

const all: readonly Case[] = [
  { name: 'kcat (librdkafka), snappy', kind: 'peer', times: KCAT_TIMES, open: kcat('snappy') },
  ...(['none', 'lz4', 'snappy', 'zstd'] as const).map((codec) => ({ name: `ours, ${codec}`, open: ours(codec) })),
  { name: 'ours, lz4, batches of 250 (50 k events/s, 5 ms)', open: ours('lz4', 250) },
  { name: 'kafkajs, none', kind: 'peer', open: kafkaJs(kafkajs.CompressionTypes.None) },
];
const cases = all.filter(({ name }) => only === undefined || name.includes(only));

const running: { one: Case; topic: string; client: Client; ns: number[]; wallMs: number[] }[] = [];
for (const [i, one] of cases.entries()) {
  const topic = `bench-${i}`;
  const client = await one.open(topic);
  await client.send(); // warm: connections, metadata and the compiler
  running.push({ one, topic, client, ns: [], wallMs: [] });
}
for (let round = 0; round < rounds; round++) {
  for (const { one, client, ns, wallMs } of running) {
    const events = EVENTS * (one.times ?? 1);
    const [before, begin] = [client.cpuUs(), performance.now()];
    await client.send();
    wallMs.push((performance.now() - begin) / (one.times ?? 1));
    ns.push(((client.cpuUs() - before) * 1000) / events);
  }
}
for (const { one, topic, client } of running) {
  await client.close();
  const arrived = await messagesIn(topic);
  const sent = (rounds + 1) * EVENTS * (one.times ?? 1);
  if (arrived !== sent) throw new Error(`run is void: case=${one.name}, sent=${sent}, arrived=${arrived}`);
}
await admin.disconnect();
await kafka.kill9();

/** The cheaper of the two codecs that the goal names. */
function goal(): Goal {
  const codecs = running.filter(({ one }) => ['ours, lz4', 'ours, snappy'].includes(one.name));
  const cheapest = codecs.map(({ ns }) => spread(ns)).sort((a, b) => a.median - b.median)[0] ?? spread([]);
  return {
    goal: 'Kafka, from the lane to the acknowledgement, lz4 or snappy',
    bound: 'most',
    limit: 4,
    value: cheapest.median / 1000,
    unit: 'us/event',
    headline: true,
    spread: `${(cheapest.min / 1000).toFixed(2)}..${(cheapest.max / 1000).toFixed(2)}`,
  };
}

const result: MicroResult = {
  asks: 'What CPU does an event cost from the ring to the acknowledgement of Kafka (acks=all, idempotent)?',
  unit: 'event (CPU of the client)',
  rows: running.map(({ one: { name, kind = 'ours' }, ns }) => ({ name, kind, ns })),
  goals: [goal()],
  versions: [
    `Kafka ${kafkaVersion}`,
    `kcat ${versionBehind('Version', 'kcat', '-V')} (librdkafka ${versionBehind('librdkafka', 'kcat', '-V')})`,
    libraryVersion('@platformatic/kafka'),
    libraryVersion('kafkajs'),
  ],
};
if (process.argv.includes('--json')) console.log(JSON.stringify(result));
else {
  console.log(`${result.asks} (Node ${process.versions.node}, us per event, median (min..max) of ${rounds} rounds)`);
  for (const { one, ns, wallMs } of running) {
    const { median, min, max } = spread(ns);
    const rate = Math.round(EVENTS / (spread(wallMs).median / 1000)).toLocaleString('en');
    console.log(
      `  ${mark(one.kind ?? 'ours')}${one.name.padEnd(50)} ${(median / 1000).toFixed(2).padStart(6)} (${(min / 1000).toFixed(2)}..${(max / 1000).toFixed(2)})  ${rate}/s`,
    );
  }
}
process.exit();
