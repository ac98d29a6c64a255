/** Thread of one output: makes its runner from workerData and runs it until the phase on the board ends it. */
import { parentPort, workerData } from 'node:worker_threads';
import { tracedTarget } from '../delivery/batch-tracing.ts';
import type { SinkKind } from '../delivery/contract.ts';
import { DeadLetterFile } from '../delivery/dead-letter.ts';
import type { KafkaSource } from '../delivery/kafka-source.ts';
import { LaneSource, standingIn } from '../delivery/lane-source.ts';
import { failureClasses, sinkMetrics } from '../delivery/metrics.ts';
import { SinkRunner } from '../delivery/runner.ts';
import { Waiter } from '../delivery/waiter.ts';
import { CheckpointFile, type CheckpointState } from '../engine/checkpoint.ts';
import { realDisk } from '../engine/disk.ts';
import { type EngineShared, liveLanes } from '../engine/engine.ts';
import { checkpointPath, lanesFolder } from '../engine/journal.ts';
import { SinkBoard } from '../engine/sink-board.ts';
import { jsonLength, jsonStart } from '../events/record.ts';
import { createLog, type Logger, type LogTarget } from '../kernel/log.ts';
import { attachBoard, type Meters, type MetricSet, watchLoop } from '../kernel/metrics.ts';
import { FIRST_OUTPUT_SEAT } from '../kernel/threads/roster.ts';
import { settleLater } from '../kernel/threads/settle.ts';
import { WakeWords } from '../kernel/threads/wake.ts';
import type { SpanNews } from '../kernel/tracing.ts';
import { loadSink } from '../sinks/registry.ts';
import type { KafkaConnectionConfig } from '../store/kafka/config.ts';
import type { ConfiguredOutput } from './configured.ts';

/**
 * A waiter measures its naps by how fast this many bytes fill; the rings of the lanes say less when they are smaller.
 */
const SOURCE_BYTES = 64 * 1024 * 1024;

export interface OutputThreadData {
  readonly output: ConfiguredOutput;
  /** Its place among the outputs: its reader of the rings and its entry on the sink board. */
  readonly index: number;
  /** Names of all outputs of the process: label values. */
  readonly outputs: readonly string[];
  /** Values of the service, for a load of its own. */
  readonly values: unknown;
  /** What the role of the output has prepared, for the same; left out by tools. */
  readonly shared?: unknown;
  readonly engine: EngineShared;
  /** False: only what earlier lives have left (`ringmain journal drain`). */
  readonly live: boolean;
  readonly patient: boolean;
  readonly deadLetterDir: string;
  /** Bytes of the largest record; a batch holds at least two. */
  readonly recordBytesMax: number;
  /** ON_LAG=drop: undelivered bytes of a lane kept at most; 0: no limit. */
  readonly lagBytesMax: number;
  readonly metrics: SharedArrayBuffer;
  /** Slot on the metrics board. */
  readonly slot: number;
  readonly log: LogTarget;
  /** Spans of batches are posted to the parent. */
  readonly traced?: boolean;
}

async function runOutput(data: OutputThreadData, kind: SinkKind<never>, log: Logger): Promise<void> {
  const { engine, index, output } = data;
  const { name, config } = output;
  const board = new SinkBoard(engine.board);
  const checkpoint =
    engine.journal === undefined ? undefined : new CheckpointFile(checkpointPath(engine.journal, name), realDisk);
  const stored = checkpoint?.read();
  const journal =
    engine.journal === undefined ? undefined : { lanes: lanesFolder(engine.journal), logId: engine.logId };
  const wake = new WakeWords(engine.wake);
  const seat = FIRST_OUTPUT_SEAT + index;
  const kafka =
    output.source === undefined ? undefined : await kafkaSource(data, stored?.state, () => wake.wake(seat), log);
  const source =
    kafka ??
    new LaneSource(
      {
        live: data.live ? liveLanes(engine) : [],
        finished: engine.finished,
        journal,
        reader: index,
        log: engine.log,
        lives: engine.lives,
      },
      stored?.state ?? (journal === undefined ? standingIn(liveLanes(engine), index, engine.log, board) : undefined),
    );
  // A consumer lives on the event loop: nothing may block its thread.
  const waits = kafka === undefined ? kind.waits : 'event-loop';
  const ended = () => board.phase(index) === 'stop' || board.phase(index) === 'abort';
  const abort = new AbortController();
  const watch = setInterval(() => {
    if (ended()) abort.abort();
  }, 100);
  const batching = kind.batching(config as never);
  if (waits === 'event-loop') watchLoop(data.metrics, data.slot);
  const metersOf = <M extends MetricSet>(set: M): Meters<M> => attachBoard(set, data.metrics, data.slot);
  const meters = metersOf(sinkMetrics(data.outputs));
  const failures = new Map(
    failureClasses.map((kind) => [kind, meters.sink_failures_total.at({ sink: name, class: kind })]),
  );
  const flush = meters.batch_flush_seconds.at({ sink: name });
  const batches = meters.ringmain_sink_batches_total.at({ sink: name });
  const bytes = meters.ringmain_sink_bytes_total.at({ sink: name });
  const runner = new SinkRunner({
    name,
    kind: waits === kind.waits ? kind : { ...kind, waits },
    open: async (state) => {
      const target = await kind.open(config as never, {
        name,
        // Names the records for targets that keep cursors: those of a log, or of a group on a cluster.
        logId: kafka === undefined ? engine.log : await kafka.identity(),
        ...(kafka === undefined ? { life: engine.life } : {}),
        ...(output.load === undefined
          ? {}
          : { load: { module: output.load, values: data.values, shared: data.shared, meters: metersOf } }),
        // What is not delivered comes again, from the journal or from the topic.
        journal: engine.journal !== undefined || kafka !== undefined,
        ...(kafka === undefined ? { repeats: source.lag().records } : {}),
        state,
        log,
        moved: (moved) => runner.moved(moved),
        lost: () => runner.connectionLost(),
        signal: abort.signal,
        ended,
      });
      return data.traced
        ? tracedTarget(target, name, (span) => parentPort?.postMessage({ span } satisfies SpanNews))
        : target;
    },
    batching: { ...batching, bytes: Math.max(batching.bytes, 2 * data.recordBytesMax + 64 * 1024) },
    source,
    checkpoint,
    state: stored?.state.target,
    places: kind.places(config as never),
    deadLetters: new DeadLetterFile({ directory: data.deadLetterDir, sink: name, logId: engine.log }),
    board,
    index,
    waiter: new Waiter(wake, seat, waits, Math.min(SOURCE_BYTES, ...engine.lanes.map(({ ring }) => ring.byteLength))),
    log,
    meters: {
      batch(_records, size, seconds) {
        batches.add(1);
        bytes.add(size);
        flush.observe(seconds);
      },
      failure: (kind) => failures.get(kind)?.add(1),
    },
    line: (buffer, offset) => buffer.subarray(jsonStart(offset), jsonStart(offset) + jsonLength(buffer, offset)),
    patient: data.patient,
    ...(output.records === undefined ? {} : { records: output.records }),
    lagBytesMax: data.lagBytesMax,
  });
  try {
    await runner.run();
  } finally {
    clearInterval(watch);
  }
}

/** The client of Kafka takes 30 MiB, so a thread that reads lanes does not load it. */
async function kafkaSource(
  data: OutputThreadData,
  checkpoint: CheckpointState | undefined,
  wake: () => void,
  logger: Logger,
): Promise<KafkaSource> {
  const { KafkaSource } = await import('../delivery/kafka-source.ts');
  const { output, engine } = data;
  const config = output.sourceConfig as unknown as KafkaConnectionConfig;
  const clientId = `ringmain-${output.name}`;
  return new KafkaSource({ config, options: output.source!, clientId, log: engine.log, logger, wake }, checkpoint);
}

async function main(data: OutputThreadData): Promise<void> {
  const log = createLog({ ...data.log, name: `sink-${data.output.name}` });
  settleLater();
  await runOutput(data, await loadSink(data.output.kind), log);
}

if (workerData !== null && (workerData as Partial<OutputThreadData>).recordBytesMax !== undefined)
  await main(workerData as OutputThreadData);
