/**
 * Pixel service: the process as a whole. Main opens the engine, spawns the threads, watches them, and ends them in order. It touches no event.
 *
 *   start   probe the port > open the log > keeper > sinks > acceptors > ready
 *   drain   /readyz red > DRAIN_DELAY_MS > Connection: close, no new connections > publish, sync > sinks deliver > checkpoints > exit 0
 */
import { readFileSync } from 'node:fs';
import type { CollectConfig } from '../collect/config.ts';
import type { EngineConfig } from '../engine/config.ts';
import { defaultAcceptors } from '../engine/config.ts';
import { type Engine, openEngine } from '../engine/engine.ts';
import { LaneControl } from '../engine/lane-control.ts';
import { Ring } from '../engine/ring.ts';
import { SinkBoard } from '../engine/sink-board.ts';
import { type HttpConfig, tlsFiles } from '../http/config.ts';
import { parseEndpoint, probeEndpoint } from '../http/endpoint.ts';
import { checkCertificates } from '../http/renewal.ts';
import { errorOf, errors, exitCodes } from '../kernel/errors.ts';
import { createLog, type Logger, type LogLevel } from '../kernel/log.ts';
import { createBoard } from '../kernel/metrics.ts';
import { ProcessBoard } from '../kernel/threads/process-board.ts';
import { Supervisor } from '../kernel/threads/supervisor.ts';
import { WakeWords } from '../kernel/threads/wake.ts';
import type { SpanNews, TracingConfig } from '../kernel/tracing.ts';
import type { SinkName, SinksConfig } from '../sinks/config.ts';
import type { VisitorConfig } from '../visitor/config.ts';
import { openSalts, type SaltSource } from '../visitor/privacy.ts';
import type { AcceptorData, AcceptorNews, AcceptorOrder } from './acceptor-thread.ts';
import { serviceErrors } from './errors.ts';
import { allMetrics } from './observe.ts';
import type { SinkThreadData } from './output-thread.ts';
import { placeProblems } from './places.ts';
import type { TracingExport } from './span-export.ts';

export interface PixelValues {
  readonly kernel: { readonly logLevel: LogLevel };
  readonly engine: EngineConfig;
  readonly http: HttpConfig;
  readonly collect: CollectConfig;
  readonly visitor: VisitorConfig;
  readonly sinks: SinksConfig;
  readonly tracing: TracingConfig;
  /** Values of each sink's own options, by its room. */
  readonly sinkValues: Readonly<Record<SinkName, unknown>>;
}

/** The environment variable that the addon reads once, when it is loaded. Line and headers of a request, bytes. */
const HEAD_BYTES_MAX = 32 * 1024;
const READY_MS_MAX = 30_000;
/** Connections that stay open without a request are closed after this part of the drain. */
const IDLE_GRACE_MS = 2000;
const STOP_GRACE_MS = 2000;
/** Longest time for the last spans, when everything that matters has ended. */
const TRACES_GRACE_MS = 1000;
/** Bodies of requests live across a few turns: with half of it batches on /collect cost 2 and 19 % more (two runs). */
const ACCEPTOR_YOUNG_MIB = 6;
/** Files beside connections: segments, sinks, the runtime. */
const OTHER_FILES = 256;
/** MAX_CONNECTIONS is by default what the server can hold, not what everybody needs: only a limit below this is worth a warning. */
const TIGHT_FILES = 10_000;

const thread = (path: string): URL =>
  new URL(`${path}${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

export class PixelService {
  readonly #values: PixelValues;
  readonly #log: Logger;
  readonly #logOptions: { level: LogLevel; destination: 1 | 2 };
  readonly #acceptors: number;
  #engine!: Engine;
  #supervisor!: Supervisor;
  #board!: ProcessBoard;
  #sinks!: SinkBoard;
  /** Undefined: no tracing. */
  #tracing: TracingExport | undefined;
  #draining = false;
  /** Acceptors whose last connection has gone. */
  readonly #idle = new Set<number>();
  #exit!: (code: number) => void;
  /** Settles with the exit code when the process has to end. */
  readonly ended: Promise<number>;

  constructor(values: PixelValues) {
    this.#values = values;
    const stdout =
      values.sinks.outputs.includes('log') && (values.sinkValues.log as { logPath: string }).logPath === 'stdout';
    this.#logOptions = { level: values.kernel.logLevel, destination: stdout ? 2 : 1 };
    this.#log = createLog({ ...this.#logOptions, name: 'main' });
    this.#acceptors = values.engine.acceptors ?? defaultAcceptors();
    this.ended = new Promise((resolve) => {
      this.#exit = resolve;
    });
  }

  get log(): Logger {
    return this.#log;
  }

  /** Starts everything; resolves when all acceptors listen. Rejects with CONFIG, PORT_IN_USE, JOURNAL_*: the log is untouched then. */
  async start(): Promise<void> {
    const { http, engine, sinks } = this.#values;
    for (const address of [http.serverAddr, http.adminAddr]) {
      const endpoint = parseEndpoint(address);
      if (endpoint !== undefined) await probeEndpoint(endpoint);
    }
    const tls = tlsFiles(http);
    if (tls !== undefined) checkCertificates(tls);
    const problems = placeProblems(this.#values);
    if (problems.length > 0) throw errors.CONFIG({ problems });
    this.#checkFiles();
    this.#engine = openEngine({
      config: engine,
      acceptors: this.#acceptors,
      sinks: sinks.outputs.map((name) => ({ name, drops: sinks.onLag === 'drop', lagBytesMax: sinks.maxLagBytes })),
      keep: sinks.sinkKeep,
      start: sinks.sinkStart,
    });
    this.#sayAbsent();
    const { parts } = this.#engine;
    this.#sinks = new SinkBoard(parts.board);
    const boardMemory = ProcessBoard.create(this.#acceptors);
    this.#board = new ProcessBoard(boardMemory);
    this.#supervisor = new Supervisor(this.#log, (name, reason) => void this.#die(name, reason));
    const slotNames = [
      'keeper',
      ...parts.sinks.map((name) => `sink-${name}`),
      ...parts.lanes.map((_, k) => `acceptor-${k}`),
    ];
    const metrics = createBoard(allMetrics(parts.sinks), slotNames.length);
    // The SDK is loaded only when there is somebody to send spans to.
    if (this.#traces !== undefined)
      this.#tracing = (await import('./span-export.ts')).openTracingExport(this.#traces, this.#log);
    if (parts.keeper !== undefined) this.#spawnKeeper(metrics);
    parts.sinks.forEach((name, i) => {
      this.#spawnSink(name as SinkName, i, metrics);
    });
    const salts = openSalts(this.#values.visitor, parts.journal);
    await Promise.all(parts.lanes.map((_, k) => this.#spawnAcceptor(k, boardMemory, metrics, slotNames, salts)));
    await this.#untilSpares();
    this.#board.setStage('serving');
  }

  /** The options of tracing; undefined when it is off. */
  get #traces(): TracingConfig | undefined {
    const { tracing } = this.#values;
    return tracing.otelExporterOtlpEndpoint === '' ? undefined : tracing;
  }

  #spawnKeeper(metrics: SharedArrayBuffer): void {
    const { parts } = this.#engine;
    this.#supervisor.spawn({
      name: 'keeper',
      file: thread('../engine/keeper-thread'),
      data: { parts: parts.keeper, metrics, slot: 0, log: this.#logOptions },
      onDeath: 'restart',
      onMessage: () => this.#board.setKeeper(true),
      onEnd: () => this.#board.setKeeper(false),
    });
  }

  #spawnSink(name: SinkName, index: number, metrics: SharedArrayBuffer): void {
    const { parts } = this.#engine;
    const { sinks, sinkValues, collect } = this.#values;
    const data: SinkThreadData = {
      name,
      index,
      config: sinkValues[name],
      engine: parts,
      live: true,
      patient: false,
      deadLetterDir: sinks.deadLetterDir,
      recordBytesMax: collect.maxEventBytes,
      lagBytesMax: sinks.onLag === 'drop' ? sinks.maxLagBytes : 0,
      metrics,
      slot: 1 + index,
      log: this.#logOptions,
      traced: this.#traces !== undefined,
    };
    this.#supervisor.spawn({
      name: `sink-${name}`,
      file: thread('./output-thread'),
      data,
      onDeath: 'restart',
      onMessage: (news) => this.#tracing?.add((news as SpanNews).span),
      onStart: () => this.#board.setSink(index, true),
      onEnd: () => {
        this.#board.setSink(index, false);
        // A dead reader's pin would stop the producers until its heir comes, which may take 30 s.
        for (const lane of parts.lanes) new Ring(lane.ring).clearPin(index);
      },
    });
  }

  #spawnAcceptor(
    k: number,
    board: SharedArrayBuffer,
    metrics: SharedArrayBuffer,
    slotNames: readonly string[],
    salts: SaltSource | undefined,
  ): Promise<void> {
    const { parts } = this.#engine;
    const data: AcceptorData = {
      engine: parts,
      acceptor: k,
      values: this.#values,
      shared: { salts },
      board,
      metrics,
      slot: 1 + parts.sinks.length + k,
      slotNames,
      log: this.#logOptions,
      tracing: this.#traces,
    };
    return new Promise((resolve, reject) => {
      this.#supervisor.spawn({
        name: `acceptor-${k}`,
        file: thread('./acceptor-thread'),
        data,
        onDeath: 'fatal',
        youngMiB: ACCEPTOR_YOUNG_MIB,
        onMessage: (news) => {
          const told = news as AcceptorNews | SpanNews;
          if ('span' in told) this.#tracing?.add(told.span);
          else if ('idle' in told) this.#idle.add(k);
          else if ('listening' in told) resolve();
          else reject(errorOf(told.failed));
        },
      });
    });
  }

  /** Ready means that each lane has a segment to write to. */
  async #untilSpares(): Promise<void> {
    if (this.#engine.parts.keeper === undefined) return;
    const controls = this.#engine.parts.lanes.map((lane) => new LaneControl(lane.control));
    const deadline = performance.now() + READY_MS_MAX;
    while (!controls.every((control) => control.spareReady() || control.rotations() > 0 || control.full() !== 0)) {
      if (performance.now() > deadline)
        throw serviceErrors.THREAD_DIED({ thread: 'keeper', reason: 'no segment is ready after 30 s' });
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  #checkFiles(): void {
    const { maxConnections } = this.#values.http;
    // Node has raised the soft limit to the hard one; more is the operator's to give.
    const limit = Number(/^Max open files\s+(\d+)/m.exec(openFilesLimits())?.[1] ?? Number.POSITIVE_INFINITY);
    if (limit >= maxConnections + OTHER_FILES) return;
    this.#log[limit < TIGHT_FILES ? 'warn' : 'info'](
      { limit, wanted: maxConnections + OTHER_FILES },
      'the limit of open files is below MAX_CONNECTIONS; connections beyond it will fail',
    );
  }

  #sayAbsent(): void {
    for (const { name, kept, owedBytes } of this.#engine.absent)
      this.#log.warn(
        { sink: name, owedBytes, kept },
        kept
          ? 'a sink of this log is not in OUTPUTS; its undelivered segments are kept (SINK_KEEP)'
          : 'a sink of this log is not in OUTPUTS; what it has not delivered is not kept for it (SINK_KEEP keeps, `ringmain journal forget` forgets)',
      );
  }

  /** SIGHUP: log files are opened anew, certificates read again. */
  reload(): void {
    const { parts } = this.#engine;
    const wake = new WakeWords(parts.wake);
    parts.sinks.forEach((_, i) => {
      this.#sinks.askReopen(i);
      wake.wake(1 + i);
    });
    if (tlsFiles(this.#values.http) !== undefined) this.#order('renew');
  }

  #order(order: AcceptorOrder): void {
    for (let k = 0; k < this.#acceptors; k++) this.#supervisor.post(`acceptor-${k}`, order);
  }

  /** SIGTERM. The second call ends at once. */
  async drain(): Promise<void> {
    if (this.#draining) {
      this.#log.warn('ended by a second signal; the journal keeps what is not delivered');
      await this.#abandon(exitCodes.internal);
      return;
    }
    this.#draining = true;
    const { drainDelayMs, drainTimeoutMs } = this.#values.engine;
    this.#board.setStage('draining');
    this.#log.info({ drainDelayMs, drainTimeoutMs }, 'draining');
    await pause(drainDelayMs);
    const deadline = performance.now() + drainTimeoutMs;
    const left = () => Math.max(0, deadline - performance.now());
    this.#supervisor.stop();
    this.#order('drain');
    const grace = performance.now() + Math.min(IDLE_GRACE_MS, drainTimeoutMs / 4);
    while (this.#idle.size < this.#acceptors && performance.now() < grace) await pause(10);
    this.#order('close');
    const acceptors = Array.from({ length: this.#acceptors }, (_, k) => `acceptor-${k}`);
    const stuck = await this.#supervisor.join(acceptors, left());
    if (stuck.length > 0) {
      this.#log.error({ threads: stuck }, 'acceptors did not end in time');
      await this.#abandon(exitCodes.internal);
      return;
    }
    await this.#endSinks(left);
    if (this.#engine.parts.keeper !== undefined) {
      this.#supervisor.post('keeper', 'stop');
      new WakeWords(this.#engine.parts.wake).wake(0);
      await this.#supervisor.join(['keeper'], left());
    }
    this.#engine.release();
    await this.#tracing?.close(TRACES_GRACE_MS);
    this.#log.info('drained');
    this.#exit(exitCodes.ok);
  }

  async #endSinks(left: () => number): Promise<void> {
    const { parts } = this.#engine;
    const names = parts.sinks.map((name) => `sink-${name}`);
    const phase = (to: 'drain' | 'stop') => {
      const wake = new WakeWords(parts.wake);
      parts.sinks.forEach((_, i) => {
        this.#sinks.setPhase(i, to);
        wake.wake(1 + i);
      });
    };
    phase('drain');
    // The end must come within DRAIN_TIMEOUT_MS: a part of it is for sinks that have to be told twice, another for the keeper's last sync.
    const grace = Math.min(STOP_GRACE_MS, this.#values.engine.drainTimeoutMs / 8);
    const late = await this.#supervisor.join(names, left() - 2 * grace);
    if (late.length === 0) return;
    phase('stop');
    const stuck = await this.#supervisor.join(names, grace);
    this.#log.warn({ threads: late, stuck }, 'sinks could not deliver everything in time; the journal keeps it');
  }

  /** A thread that cannot be replaced has ended. */
  async #die(name: string, reason: string): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    this.#log.fatal({ thread: name, reason }, 'the process cannot go on');
    await this.#abandon(exitCodes.internal);
  }

  /** Ends without delivering. Acceptors close their sockets first: the addon would abort the process otherwise. */
  async #abandon(code: number): Promise<void> {
    this.#supervisor.stop();
    this.#order('now');
    await this.#supervisor.join(
      Array.from({ length: this.#acceptors }, (_, k) => `acceptor-${k}`),
      500,
    );
    this.#exit(code);
  }

  /** After a start that failed half-way. */
  async abort(): Promise<void> {
    if (this.#supervisor !== undefined) await this.#abandon(exitCodes.config);
    this.#engine?.release();
  }

  /** For the banner. */
  get acceptors(): number {
    return this.#acceptors;
  }
  get supervised(): Supervisor {
    return this.#supervisor;
  }
}

const pause = (ms: number): Promise<void> =>
  ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve();

function openFilesLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}

export { HEAD_BYTES_MAX };
