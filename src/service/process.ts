/**
 * Process: a service as a whole. Main opens the engine, spawns the threads, watches them, and ends them in order. It
 * touches no event.
 *
 *   start   ports, paths, files of outputs > log > prepare > migrations > keeper > outputs > workers > acceptors listen
 *           > ready
 *   drain   /readyz red > acceptors > workers > outputs > keeper > spans > exit 0
 *
 * Both orders are lists (startSteps, drainSteps).
 */
import { constants } from 'node:os';
import { openEngine } from '../engine/engine.ts';
import { LaneControl } from '../engine/lane-control.ts';
import { SinkBoard } from '../engine/sink-board.ts';
import { tlsFiles } from '../http/config.ts';
import { parseEndpoint, probeEndpoint } from '../http/endpoint.ts';
import { checkCertificates } from '../http/renewal.ts';
import { errors, exitCodes } from '../kernel/errors.ts';
import { createLog, type Logger, type LogTarget, logTarget } from '../kernel/log.ts';
import { createBoard } from '../kernel/metrics.ts';
import { ThreadBoard } from '../kernel/threads/board.ts';
import { lanesOf, makeRoster, type SeatKind } from '../kernel/threads/roster.ts';
import { settleLater } from '../kernel/threads/settle.ts';
import { createWakeWords } from '../kernel/threads/wake.ts';
import type { TracingConfig } from '../kernel/tracing.ts';
import { announce } from './announce.ts';
import { defaultAcceptors } from './config.ts';
import { type Configured, laneOutputs, rolesIn } from './configured.ts';
import type { Sample } from './contract.ts';
import { serviceErrors } from './errors.ts';
import { type LogFiles, lockLogFiles } from './log-files.ts';
import { metricSets } from './metric-sets.ts';
import { connectionsWithin } from './open-files.ts';
import { pathProblems } from './paths.ts';
import { addressesOf, type NamedRole } from './seat.ts';
import type { TracingExport } from './span-export.ts';
import { type ProcessShared, type RoleWorker, Threads, workersOf } from './threads.ts';

/**
 * What threads have to load and to listen. A thread that dies ends the start at once; this is for one that hangs. Two
 * cores that ten programs want take more than 30 s, and a process that gives up then begins the same work anew.
 */
const READY_MS_MAX = 120_000;
/** How often the start looks whether the outputs have opened their files. */
const HANDOVER_MS = 50;
/** Connections that stay open without a request are closed after this part of the drain. */
const IDLE_GRACE_MS = 2000;
const STOP_GRACE_MS = 2000;
/** Longest time for the last spans, when everything that matters has ended. */
const TRACES_GRACE_MS = 1000;
export class ServiceProcess {
  readonly #configured: Configured;
  readonly #roles: readonly NamedRole[];
  /** A worker for each thread that one has. */
  readonly #workers: readonly RoleWorker[];
  readonly #logOptions: LogTarget;
  readonly log: Logger;
  /** Somebody reads along: on a terminal, or LOG_FORMAT=text. */
  get readable(): boolean {
    return this.#logOptions.text === true;
  }
  /** Threads that take requests. */
  readonly acceptors: number;
  #shared!: ProcessShared;
  /** The files of the outputs, until their threads have locked them. */
  #logFiles: LogFiles | undefined;
  /** Undefined until the log is open. */
  #threads: Threads | undefined;
  readonly #prepared: Record<string, unknown> = {};
  /** Why an acceptor could not begin. */
  #failure: Error | undefined;
  /** Undefined: no tracing. */
  #tracing: TracingExport | undefined;
  #draining = false;
  /** Ends what main tells of its threads' counters. */
  #hush: () => void = () => {};
  #exit!: (code: number) => void;
  /** Settles with the exit code when the process has to end. */
  readonly ended: Promise<number>;

  constructor(configured: Configured) {
    this.#configured = configured;
    const { values, outputs } = configured;
    this.#roles = rolesIn(configured);
    const jobs = this.#roles.flatMap((role) => role.jobs?.names ?? []);
    this.#workers = this.#roles.flatMap((role) => workersOf(role, jobs, configured));
    const stdout = outputs.some(({ kind, config }) => kind === 'log' && config['logPath'] === 'stdout');
    this.#logOptions = logTarget(values.kernel, stdout ? 2 : 1);
    this.log = createLog({ ...this.#logOptions, name: 'main' });
    // Without routes of a service an acceptor only answers operators: one is enough.
    const routes = this.#roles.some(({ acceptor }) => acceptor !== undefined);
    this.acceptors = routes ? (values.service.acceptors ?? defaultAcceptors()) : 1;
    this.ended = new Promise((resolve) => {
      this.#exit = resolve;
    });
  }

  /**
   * Starts everything; resolves when all acceptors listen. Rejects with CONFIG, PORT_IN_USE, LOG_FILE_LOCKED,
   * JOURNAL_*: the log is untouched then.
   */
  async start(): Promise<void> {
    for (const step of this.#startSteps) await step.call(this);
    this.#threads!.board.setStage('serving');
    settleLater();
    const { engine, metrics } = this.#shared;
    const outputs = this.#configured.outputs.map(({ name }) => name);
    this.#hush = announce({
      sets: metricSets(this.#roles, outputs, this.#configured.values),
      metrics,
      engine: engine.shared,
      outputs,
      log: this.log,
    });
  }

  readonly #startSteps: readonly (() => Promise<void> | void)[] = [
    this.#checkPorts,
    this.#checkPaths,
    this.#lockFiles,
    this.#openLog,
    this.#prepare,
    this.#migrate,
    this.#checkStore,
    this.#openTracing,
    () => this.#threads!.spawnKeeper(),
    () => this.#threads!.spawnOutputs(),
    () => this.#threads!.spawnWorkers(),
    () => this.#threads!.spawnAcceptors(),
    this.#untilListening,
    this.#untilSpares,
    this.#handFilesOver,
  ];

  async #checkPorts(): Promise<void> {
    const { values } = this.#configured;
    const addresses = [...addressesOf(this.#roles, values), values.http.adminAddr];
    const twice = addresses.find((address, i) => addresses.indexOf(address) !== i);
    if (twice !== undefined)
      throw errors.CONFIG({
        problems: [`each role of a process must have its own address: ${twice} is used twice`],
      });
    for (const address of addresses) {
      const endpoint = parseEndpoint(address);
      if (endpoint !== undefined) await probeEndpoint(endpoint);
    }
    const tls = tlsFiles(values.http);
    if (tls !== undefined) checkCertificates(tls);
  }

  #checkPaths(): void {
    const { values } = this.#configured;
    const problems = [
      ...pathProblems(this.#configured),
      ...this.#roles.flatMap((role) => role.problems?.(values, this.#configured.roles) ?? []),
    ];
    if (problems.length > 0) throw errors.CONFIG({ problems });
  }

  #lockFiles(): void {
    this.#logFiles = lockLogFiles(this.#configured.outputs, this.#configured.values.engine.journalDir);
  }

  /** The locks of the start are let go when no output opens its file for the first time any more. */
  #handFilesOver(): void {
    const seats = this.#threads!.seats('output').filter(
      ({ number }) => this.#configured.outputs[number]!.kind === 'log',
    );
    const opening = () => seats.some(({ index }) => this.#threads!.board.state(index) === 'starting');
    const look = () => {
      if (!opening() || this.#draining) this.#logFiles?.release();
      else setTimeout(look, HANDOVER_MS);
    };
    look();
  }

  #openLog(): void {
    const { values, outputs } = this.#configured;
    const { sinks } = values;
    const readers = laneOutputs(outputs);
    const roster = makeRoster({
      outputs: outputs.map(({ name }) => name),
      workers: this.#workers.map(({ spec: { name, count = 1, publishes = false } }) => ({ name, count, publishes })),
      acceptors: this.acceptors,
      // Without a reader nothing would ever leave a lane.
      lanes: readers.length > 0,
    });
    const lanes = lanesOf(roster);
    const threads = ThreadBoard.create(roster.length);
    const wake = createWakeWords(roster.length);
    const begin = performance.now();
    const engine = openEngine({
      config: lanes > 0 ? values.engine : { ...values.engine, journalDir: 'off' },
      lanes,
      sinks: readers.map(({ name }) => ({ name, drops: sinks.onLag === 'drop', lagBytesMax: sinks.maxLagBytes })),
      keep: sinks.sinkKeep,
      start: sinks.sinkStart,
      threads: { board: threads, wake, outputs: outputs.length },
    });
    const sets = metricSets(
      this.#roles,
      outputs.map(({ name }) => name),
      values,
    );
    const metrics = createBoard(sets, roster.length);
    this.#shared = { engine, roster, threads, wake, metrics };
    this.#threads = new Threads({
      configured: this.#configured,
      roles: this.#roles,
      workers: this.#workers,
      acceptors: this.acceptors,
      connections: connectionsWithin(
        {
          wanted: values.http.maxConnections,
          set: this.#configured.loaded.sources.has('MAX_CONNECTIONS'),
          acceptors: this.acceptors,
          threads: roster.length,
          outputs: outputs.length,
        },
        this.log,
      ),
      shared: this.#shared,
      prepared: this.#prepared,
      tracing: this.#traces,
      log: this.log,
      logOptions: this.#logOptions,
      onSpan: (span) => this.#tracing?.add(span),
      onFailure: (error) => {
        this.#failure ??= error;
      },
      onFatal: (name, reason) => void this.#die(name, reason),
    });
    this.#sayRecovered(performance.now() - begin);
    this.#sayAbsent();
  }

  async #prepare(): Promise<void> {
    const { values } = this.#configured;
    const { journal } = this.#shared.engine.shared;
    for (const role of this.#roles)
      this.#prepared[role.name] = await role.prepare?.(values, { log: this.log, journal });
  }

  async #migrate(): Promise<void> {
    const { service, values } = this.#configured;
    if (service.migrations === undefined) return;
    const { migrateAtStart } = await import('./migrate.ts');
    await migrateAtStart(service, values, (line) => this.log.info(line));
  }

  async #checkStore(): Promise<void> {
    const { service, values } = this.#configured;
    const asked = this.#roles.map(async (role) => (await role.storeProblems?.(values)) ?? []);
    const problems = await Promise.all(asked).catch(async (error: unknown) => {
      const { startFault } = await import('./migrate.ts');
      throw startFault(error, service.migrations?.dsn(values as never));
    });
    if (problems.flat().length > 0) throw errors.CONFIG({ problems: problems.flat() });
  }

  async #openTracing(): Promise<void> {
    // The SDK is loaded only when there is somebody to send spans to.
    if (this.#traces === undefined) return;
    this.#tracing = (await import('./span-export.ts')).openTracingExport(this.#traces, this.log);
  }

  /** The options of tracing; undefined when it is off. */
  get #traces(): TracingConfig | undefined {
    const { tracing } = this.#configured.values;
    return tracing.otelExporterOtlpEndpoint === '' ? undefined : tracing;
  }

  async #untilListening(): Promise<void> {
    const seats = this.#threads!.seats('acceptor');
    await this.#until(
      () => seats.every(({ index }) => this.#threads!.board.state(index) === 'up'),
      'acceptor',
      'it does not listen',
    );
  }

  /** Ready means that each lane has a segment to write to. */
  async #untilSpares(): Promise<void> {
    const { shared } = this.#shared.engine;
    if (shared.keeper === undefined) return;
    const controls = shared.lanes.map((lane) => new LaneControl(lane.control));
    const ready = (control: LaneControl) => control.spareReady() || control.rotations() > 0 || control.full() !== 0;
    await this.#until(() => controls.every(ready), 'keeper', 'no segment is ready');
  }

  async #until(holds: () => boolean, name: string, what: string): Promise<void> {
    const deadline = performance.now() + READY_MS_MAX;
    while (!holds()) {
      if (this.#failure !== undefined) throw this.#failure;
      if (performance.now() > deadline)
        throw serviceErrors.THREAD_DIED({ thread: name, reason: `${what} after ${READY_MS_MAX / 1000} s` });
      await pause(2);
    }
  }

  /** What an earlier start has left, and what the outputs still owe of it. */
  #sayRecovered(ms: number): void {
    const { finished, sinks, board } = this.#shared.engine.shared;
    if (finished.length === 0) return;
    const figures = new SinkBoard(board);
    const records = finished.reduce((sum, { begin, end }) => sum + end.record - begin.record, 0);
    const bytes = finished.reduce((sum, { begin, end }) => sum + end.position - begin.position, 0);
    const owed = Object.fromEntries(sinks.map((sink, i) => [sink, figures.get(i, 'owed')]));
    this.log.info(
      { lanes: finished.length, records, bytes, owed, ms: Math.round(ms) },
      'recovered the journal of earlier runs',
    );
  }

  #sayAbsent(): void {
    for (const sink of this.#shared.engine.branched)
      this.log.warn(
        sink,
        'the checkpoint of this sink was made on another copy of this journal; ' +
          'the sink continues where the copies diverge',
      );
    const running = new Set(this.#configured.outputs.map(({ name }) => name));
    for (const { name, kept, owedBytes } of this.#shared.engine.absent.filter((sink) => !running.has(sink.name)))
      this.log.warn(
        { sink: name, owedBytes, kept },
        kept
          ? 'a sink of this journal is not in OUTPUTS; its undelivered segments are kept (SINK_KEEP)'
          : 'a sink of this journal is not in OUTPUTS; its undelivered events are not kept for it ' +
              '(SINK_KEEP keeps, `ringmain journal forget` forgets)',
      );
  }

  /** TEST_MODE: sends sample events to the role at `url`, and tells where they arrive. */
  async test(samples: readonly Sample[], url: string): Promise<void> {
    const { sendSamples } = await import('./test-mode.ts');
    const { engine } = this.#shared;
    await sendSamples({ at: url, samples, engine: engine.shared, log: this.log, ended: () => this.#draining });
  }

  /** SIGHUP: log files are opened anew, certificates read again. */
  reload(): void {
    this.log.info('SIGHUP: reopening log files, reloading certificates');
    this.#threads!.reload();
  }

  /** A signal asks for the end. The second call ends at once, with the exit code of a process that the signal ended. */
  async drain(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#draining) {
      this.log.warn({ signal }, `stopped by a second signal${this.#rest}`);
      await this.#abandon(128 + constants.signals[signal]);
      return;
    }
    this.#draining = true;
    const { drainDelayMs, drainTimeoutMs } = this.#configured.values.service;
    this.#threads!.board.setStage('draining');
    this.log.info({ drainDelayMs, drainTimeoutMs }, 'draining');
    await pause(drainDelayMs);
    const deadline = performance.now() + drainTimeoutMs;
    const left = () => Math.max(0, deadline - performance.now());
    this.#threads!.stop();
    for (const step of this.#drainSteps) if (!(await step.call(this, left))) return;
    this.#hush();
    this.#sayDrained();
    this.#exit(exitCodes.ok);
  }

  /** What becomes of undelivered events, to end a sentence with. A topic says nothing: it has its events anyway. */
  get #rest(): string {
    const { journal, sinks } = this.#shared.engine.shared;
    if (journal !== undefined) return '; the journal keeps what is undelivered';
    return sinks.length > 0 ? '; what is undelivered is lost because there is no journal' : '';
  }

  #sayDrained(): void {
    const { board, sinks } = this.#shared.engine.shared;
    const figures = new SinkBoard(board);
    const owed = Object.fromEntries(
      sinks.map((sink, i) => [sink, figures.get(i, 'lagRecords')] as const).filter(([, events]) => events > 0),
    );
    if (Object.keys(owed).length === 0) this.log.info('drained: everything was delivered');
    else if (this.#shared.engine.shared.journal !== undefined)
      this.log.warn({ owed }, 'stopped with undelivered events; the journal keeps them for the next start');
    else this.log.error({ owed }, 'stopped with undelivered events; they are lost because there is no journal');
  }

  /** Each resolves with whether the drain goes on. */
  readonly #drainSteps: readonly ((left: () => number) => Promise<boolean>)[] = [
    this.#drainAcceptors,
    this.#drainWorkers,
    this.#drainOutputs,
    this.#drainKeeper,
    this.#closeTracing,
  ];

  async #drainAcceptors(left: () => number): Promise<boolean> {
    const seats = this.#threads!.seats('acceptor');
    this.#threads!.phase('acceptor', 'drain');
    const grace = performance.now() + Math.min(IDLE_GRACE_MS, this.#configured.values.service.drainTimeoutMs / 4);
    // An acceptor says `stopped` when its last connection has gone.
    while (!seats.every(({ index }) => this.#threads!.board.state(index) === 'stopped') && performance.now() < grace)
      await pause(10);
    this.#threads!.phase('acceptor', 'stop');
    const stuck = await this.#threads!.join('acceptor', left());
    if (stuck.length === 0) return true;
    this.log.error({ threads: stuck }, 'acceptors did not stop in time');
    await this.#abandon(exitCodes.internal);
    return false;
  }

  async #drainWorkers(left: () => number): Promise<boolean> {
    await this.#endInTime('worker', left, 'workers could not finish in time');
    return true;
  }

  async #drainOutputs(left: () => number): Promise<boolean> {
    await this.#endInTime('output', left, `sinks could not deliver everything in time${this.#rest}`);
    return true;
  }

  async #endInTime(kind: SeatKind, left: () => number, late: string): Promise<void> {
    this.#threads!.phase(kind, 'drain');
    // The end must come within DRAIN_TIMEOUT_MS: a part of it is for threads that have to be told twice, another for
    // the keeper's last sync.
    const grace = Math.min(STOP_GRACE_MS, this.#configured.values.service.drainTimeoutMs / 8);
    const threads = await this.#threads!.join(kind, left() - 2 * grace);
    if (threads.length === 0) return;
    this.#threads!.phase(kind, 'stop');
    const stuck = await this.#threads!.join(kind, grace);
    this.log.warn({ threads, stuck }, late);
  }

  async #drainKeeper(left: () => number): Promise<boolean> {
    this.#threads!.phase('keeper', 'drain');
    await this.#threads!.join('keeper', left());
    this.#shared.engine.release();
    return true;
  }

  async #closeTracing(): Promise<boolean> {
    await this.#tracing?.close(TRACES_GRACE_MS);
    return true;
  }

  /** A thread that cannot be replaced has ended. */
  async #die(name: string, reason: string): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    this.log.fatal({ thread: name, reason }, 'the process cannot continue');
    await this.#abandon(exitCodes.internal);
  }

  /** Ends without delivering. Acceptors close their sockets first: the addon would abort the process otherwise. */
  async #abandon(code: number): Promise<void> {
    this.#hush();
    this.#threads!.stop();
    this.#threads!.phase('acceptor', 'abort');
    await this.#threads!.join('acceptor', 500);
    this.#exit(code);
  }

  /** After a start that failed half-way. */
  async abort(): Promise<void> {
    if (this.#threads !== undefined) await this.#abandon(exitCodes.config);
    this.#shared?.engine.release();
    this.#logFiles?.abandon();
  }
}

const pause = (ms: number): Promise<void> =>
  ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve();
