/**
 * A process that takes a topic to a file or to Postgres, for tests that kill it: a runner with a KafkaSource, the real
 * target and a real checkpoint. Arguments: broker, topic, group, folder, and for Postgres its DSN; rows go to the table
 * `got`. It says `joined` when it has partitions, `delivering` with the first record, and ends on a line of standard
 * input.
 */
import { join } from 'node:path';
import type { SinkContext } from '../../src/delivery/contract.ts';
import { DeadLetterFile } from '../../src/delivery/dead-letter.ts';
import { KafkaSource } from '../../src/delivery/kafka-source.ts';
import { SinkRunner } from '../../src/delivery/runner.ts';
import { Waiter } from '../../src/delivery/waiter.ts';
import { CheckpointFile } from '../../src/engine/checkpoint.ts';
import { realDisk } from '../../src/engine/disk.ts';
import { SinkBoard } from '../../src/engine/sink-board.ts';
import { jsonLength, jsonStart } from '../../src/events/record.ts';
import { loadConfig } from '../../src/kernel/config.ts';
import { createLog } from '../../src/kernel/log.ts';
import { createWakeWords, WakeWords } from '../../src/kernel/threads/wake.ts';
import { type FileConfig, fileConfig } from '../../src/sinks/file/config.ts';
import { fileSink } from '../../src/sinks/file/sink.ts';
import { type PostgresConfig, postgresConfig } from '../../src/sinks/postgres/config.ts';
import type { Load } from '../../src/sinks/postgres/load.ts';
import { PostgresTarget, postgresSink } from '../../src/sinks/postgres/sink.ts';
import { configOf } from '../sinks/kafka/events.ts';

const [brokers = '', topic = '', groupId = '', folder = '', dsn] = process.argv.slice(2);
const log = createLog({ level: 'warn', destination: 2, name: 'consumer' });
const board = new SinkBoard(SinkBoard.create(1));
const words = new WakeWords(createWakeWords(1));
const checkpoint = new CheckpointFile(join(folder, 'out.checkpoint'), realDisk);
const stored = checkpoint.read();
const env = { LOG_PATH: join(folder, 'out.ndjson') };
const config = loadConfig([fileConfig], { env, argv: [] }).values['file'] as unknown as FileConfig;
const source = new KafkaSource(
  {
    config: configOf({ KAFKA_BROKERS: brokers }),
    options: { topics: [topic], groupId, start: 'earliest', sessionTimeoutMs: 1500 },
    clientId: 'test',
    log: 'test',
    wake: () => words.wake(0),
  },
  stored?.state,
);
/** One row per record, and nothing that would keep a record from being there twice. */
const rows: Load = {
  async load(transaction, { buffer, offsets, count }) {
    const values = Array.from({ length: count }, (_, i) => {
      const from = jsonStart(offsets[i]!);
      return buffer.toString('utf8', from, from + jsonLength(buffer, offsets[i]!));
    });
    await transaction.query('INSERT INTO got (value) SELECT * FROM unnest($1::text[])', [values]);
  },
};
const runner = new SinkRunner({
  name: 'out',
  // The consumer lives on the event loop, so nothing may block this thread.
  kind: { ...(dsn === undefined ? fileSink : postgresSink), waits: 'event-loop' } as never,
  open: async (state) => {
    const context: SinkContext = {
      name: 'out',
      logId: await source.identity(),
      journal: true,
      state,
      log,
      signal: new AbortController().signal,
      ended: () => false,
      moved: (moved) => runner.moved(moved),
    };
    if (dsn === undefined) return fileSink.open(config, context);
    const postgres = loadConfig([postgresConfig], { env: { PG_DSN: dsn }, argv: [] }).values['postgres'];
    return new PostgresTarget(postgres as unknown as PostgresConfig, context, () => rows);
  },
  batching: { records: 100, bytes: 256 * 1024, flushMs: 5 },
  source,
  checkpoint,
  state: stored?.state.target,
  deadLetters: new DeadLetterFile({ directory: folder, sink: 'out', logId: 'test' }),
  board,
  index: 0,
  waiter: new Waiter(words, 0, 'event-loop', 2 ** 20),
  log,
  meters: { batch: () => undefined, failure: () => undefined },
  line: (buffer, offset) => buffer.subarray(jsonStart(offset), jsonStart(offset) + jsonLength(buffer, offset)),
});
process.stdin.once('data', () => board.setPhase(0, 'drain'));
const before = stored?.state.ledger.delivered ?? 0;
const saying: [word: string, when: () => boolean][] = [
  ['joined', () => source.strands.length > 0],
  ['delivering', () => source.ledger.delivered > before],
];
setInterval(() => {
  while (saying[0]?.[1]()) process.stdout.write(`${saying.shift()![0]}\n`);
}, 20);
await runner.run();
process.stdout.write(`${JSON.stringify(source.ledger)}\n`);
process.exit(0);
