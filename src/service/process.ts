/**
 * Process: a service as a whole. Main opens the engine, spawns the threads, watches them, and ends them in order. It touches no event.
 *
 *   start   ports, paths > log > prepare > migrations > keeper > outputs > workers > acceptors listen > ready
 *   drain   /readyz red > acceptors > workers > outputs > keeper > spans > exit 0
 *
 * Both orders are lists (startSteps, drainSteps).
 */
import { type Engine, openEngine } from '../engine/engine.ts';
import { LaneControl } from '../engine/lane-control.ts';
import { Ring } from '../engine/ring.ts';
import { tlsFiles } from '../http/config.ts';
import { parseEndpoint, probeEndpoint } from '../http/endpoint.ts';
import { checkCertificates } from '../http/renewal.ts';
import { errorOf, errors, exitCodes } from '../kernel/errors.ts';
import { createLog, type Logger, type LogLevel } from '../kernel/log.ts';
import { createBoard } from '../kernel/metrics.ts';
import { type Phase, ThreadBoard } from '../kernel/threads/board.ts';
import { lanesOf, makeRoster, type Roster, type Seat, type SeatKind, seatsOf } from '../kernel/threads/roster.ts';
import { Supervisor } from '../kernel/threads/supervisor.ts';
import { createWakeWords, WakeWords } from '../kernel/threads/wake.ts';
import type { SpanNews, TracingConfig } from '../kernel/tracing.ts';
import type { AcceptorData, AcceptorNews } from './acceptor-thread.ts';
import { defaultAcceptors } from './config.ts';
import { type Configured, laneOutputs, rolesIn } from './configured.ts';
import type { WorkerSpec } from './contract.ts';
import { serviceErrors } from './errors.ts';
import { metricSets } from './metric-sets.ts';
import { checkOpenFiles } from './open-files.ts';
import type { OutputThreadData } from './output-thread.ts';
import { pathProblems } from './paths.ts';
import type { NamedRole, SeatShared } from './seat.ts';
import type { TracingExport } from './span-export.ts';
import type { WorkerData } from './worker-thread.ts';

const READY_MS_MAX = 30_000;
/** Connections that stay open without a request are closed after this part of the drain. */
const IDLE_GRACE_MS = 2000;
const STOP_GRACE_MS = 2000;
/** Longest time for the last spans, when everything that matters has ended. */
const TRACES_GRACE_MS = 1000;
/** Largest record of a role that does not say another. */
const RECORD_BYTES_MAX = 64 * 1024;
/** Bodies of requests live across a few turns: with half of it batches on /collect cost 2 and 19 % more (two runs). */
const ACCEPTOR_YOUNG_MIB = 6;

const thread = (path: string): URL =>
  new URL(`${path}${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

interface Shared {
  readonly engine: Engine;
  readonly roster: Roster;
  readonly threads: SharedArrayBuffer;
  readonly wake: SharedArrayBuffer;
  readonly metrics: SharedArrayBuffer;
}

export class ServiceProcess {
  readonly #configured: Configured;
  readonly #roles: readonly NamedRole[];
  readonly #specs: readonly WorkerSpec[];
  readonly #logOptions: { level: LogLevel; destination: 1 | 2 };
  readonly log: Logger;
  /** Threads that take requests. */
  readonly acceptors: number;
  #shared!: Shared;
  #supervisor: Supervisor | undefined;
  #board!: ThreadBoard;
  #wake!: WakeWords;
  readonly #prepared: Record<string, unknown> = {};
  /** Why an acceptor could not begin. */
  #failure: Error | undefined;
  /** Undefined: no tracing. */
  #tracing: TracingExport | undefined;
  #draining = false;
  #exit!: (code: number) => void;
  /** Settles with the exit code when the process has to end. */
  readonly ended: Promise<number>;

  constructor(configured: Configured) {
    this.#configured = configured;
    const { values, outputs } = configured;
    this.#roles = rolesIn(configured);
    this.#specs = this.#roles.flatMap((role) => role.workers?.(values) ?? []);
    const stdout = outputs.some(({ kind, config }) => kind === 'log' && config['logPath'] === 'stdout');
    this.#logOptions = { level: values.kernel.logLevel, destination: stdout ? 2 : 1 };
    this.log = createLog({ ...this.#logOptions, name: 'main' });
    // Without routes of a service an acceptor only answers operators: one is enough.
    const routes = this.#roles.some(({ acceptor }) => acceptor !== undefined);
    this.acceptors = routes ? (values.service.acceptors ?? defaultAcceptors()) : 1;
    this.ended = new Promise((resolve) => {
      this.#exit = resolve;
    });
  }

  /** Starts everything; resolves when all acceptors listen. Rejects with CONFIG, PORT_IN_USE, JOURNAL_*: the log is untouched then. */
  async start(): Promise<void> {
    for (const step of this.#startSteps) await step.call(this);
    this.#board.setStage('serving');
  }

  readonly #startSteps: readonly (() => Promise<void> | void)[] = [
    this.#checkPorts,
    this.#checkPaths,
    this.#openLog,
    this.#prepare,
    this.#openTracing,
    this.#spawnKeeper,
    this.#spawnOutputs,
    this.#spawnWorkers,
    this.#spawnAcceptors,
    this.#untilListening,
    this.#untilSpares,
  ];

  async #checkPorts(): Promise<void> {
    const { values } = this.#configured;
    const addresses = [...addressesOf(this.#roles, values), values.http.adminAddr];
    const twice = addresses.find((address, i) => addresses.indexOf(address) !== i);
    if (twice !== undefined)
      throw errors.CONFIG({
        problems: [`each role of a process must have an address of its own: found=${twice} twice`],
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
      ...this.#roles.flatMap((role) => role.problems?.(values) ?? []),
    ];
    if (problems.length > 0) throw errors.CONFIG({ problems });
    checkOpenFiles(values.http.maxConnections, this.log);
  }

  #openLog(): void {
    const { values, outputs } = this.#configured;
    const { sinks } = values;
    const readers = laneOutputs(outputs);
    const roster = makeRoster({
      outputs: outputs.map(({ name }) => name),
      workers: this.#specs.map(({ name, count = 1, publishes = false }) => ({ name, count, publishes })),
      acceptors: this.acceptors,
      // Without a reader nothing would ever leave a lane.
      lanes: readers.length > 0,
    });
    const lanes = lanesOf(roster);
    const threads = ThreadBoard.create(roster.length);
    const wake = createWakeWords(roster.length);
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
    );
    const metrics = createBoard(sets, roster.length);
    this.#shared = { engine, roster, threads, wake, metrics };
    this.#board = new ThreadBoard(threads);
    this.#wake = new WakeWords(wake);
    this.#supervisor = new Supervisor(this.log, (name, reason) => void this.#die(name, reason));
    this.#sayAbsent();
  }

  async #prepare(): Promise<void> {
    const { values } = this.#configured;
    const { journal } = this.#shared.engine.parts;
    for (const role of this.#roles)
      this.#prepared[role.name] = await role.prepare?.(values, { log: this.log, journal });
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

  #spawnKeeper(): void {
    const { keeper } = this.#shared.engine.parts;
    const [seat] = seatsOf(this.#shared.roster, 'keeper');
    if (keeper === undefined) return;
    const data = { parts: keeper, metrics: this.#shared.metrics, log: this.#logOptions };
    this.#spawn(seat!, '../engine/keeper-thread', data, { onDeath: 'restart' });
  }

  #spawnOutputs(): void {
    const { values, outputs } = this.#configured;
    const { engine, roster, metrics } = this.#shared;
    const { sinks } = values;
    for (const seat of seatsOf(roster, 'output')) {
      const data: OutputThreadData = {
        output: outputs[seat.number]!,
        index: seat.number,
        outputs: outputs.map(({ name }) => name),
        engine: engine.parts,
        live: true,
        patient: false,
        deadLetterDir: sinks.deadLetterDir,
        recordBytesMax: Math.max(...this.#roles.map((role) => role.recordBytesMax?.(values) ?? RECORD_BYTES_MAX)),
        lagBytesMax: sinks.onLag === 'drop' ? sinks.maxLagBytes : 0,
        metrics,
        slot: seat.index,
        log: this.#logOptions,
        traced: this.#traces !== undefined,
      };
      this.#spawn(seat, './output-thread', data, {
        onDeath: 'restart',
        // A dead reader's pin would stop the producers until its heir comes, which may take 30 s.
        onEnd: () => {
          if (outputs[seat.number]!.source !== undefined) return;
          for (const lane of engine.parts.lanes) new Ring(lane.ring).clearPin(seat.reader);
        },
      });
    }
  }

  #spawnWorkers(): void {
    const seats = seatsOf(this.#shared.roster, 'worker');
    const specs = this.#specs.flatMap((spec) => Array.from({ length: spec.count ?? 1 }, () => spec));
    seats.forEach((seat, i) => {
      const { name, module, onDeath, data: given } = specs[i]!;
      const role = this.#roles.find(({ workers }) =>
        workers?.(this.#configured.values).some((spec) => spec.name === name),
      );
      const data: WorkerData = {
        ...this.#seatShared(seat),
        engine: this.#shared.engine.parts,
        role: role!.name,
        module: module.href,
        data: given,
      };
      this.#spawn(seat, './worker-thread', data, { onDeath, onStarted: () => this.#connectWorker(seat, name) });
    });
  }

  #spawnAcceptors(): void {
    for (const seat of seatsOf(this.#shared.roster, 'acceptor')) {
      const data: AcceptorData = {
        ...this.#seatShared(seat),
        engine: this.#shared.engine.parts,
        acceptors: this.acceptors,
        tracing: this.#traces,
      };
      this.#spawn(seat, './acceptor-thread', data, {
        onDeath: 'fatal',
        youngMiB: ACCEPTOR_YOUNG_MIB,
        onStarted: () => this.#connectAcceptor(seat),
      });
    }
  }

  #seatShared(seat: Seat): SeatShared {
    const { service, roles, values, outputs } = this.#configured;
    const { roster, threads, wake, metrics, engine } = this.#shared;
    return {
      service: service.module,
      roles,
      values,
      prepared: this.#prepared,
      roster,
      seat,
      threads,
      wake,
      sinks: engine.parts.board,
      metrics,
      outputs: outputs.map(({ name }) => name),
      log: this.#logOptions,
    };
  }

  #spawn(
    seat: Seat,
    file: string,
    data: unknown,
    rest: { onDeath: 'restart' | 'fatal'; onEnd?: () => void; onStarted?: () => void; youngMiB?: number },
  ): void {
    this.#supervisor!.spawn({
      ...rest,
      name: seat.name,
      file: thread(file),
      data,
      onMessage: (news) => {
        const told = news as AcceptorNews | SpanNews;
        if ('span' in told) this.#tracing?.add(told.span);
        else this.#failure ??= errorOf(told.failed);
      },
      onStart: () => {
        this.#board.setState(seat.index, 'starting');
        this.#board.setRunning(seat.index, true);
      },
      onEnd: () => {
        this.#board.setRunning(seat.index, false);
        rest.onEnd?.();
      },
    });
  }

  #connectWorker(seat: Seat, worker: string): void {
    for (const acceptor of seatsOf(this.#shared.roster, 'acceptor')) this.#connect(acceptor, seat, worker);
  }

  #connectAcceptor(seat: Seat): void {
    const specs = this.#specs.flatMap((spec) => Array.from({ length: spec.count ?? 1 }, () => spec));
    seatsOf(this.#shared.roster, 'worker').forEach((worker, i) => {
      this.#connect(seat, worker, specs[i]!.name);
    });
  }

  /** Gives an acceptor and a worker the ends of a channel; nothing when one of them does not run yet. */
  #connect(acceptor: Seat, seat: Seat, worker: string): void {
    const supervisor = this.#supervisor!;
    if (!supervisor.runs(acceptor.name) || !supervisor.runs(seat.name)) return;
    const { port1, port2 } = new MessageChannel();
    supervisor.post(seat.name, { connect: port1 }, [port1]);
    supervisor.post(acceptor.name, { connect: port2, worker }, [port2]);
  }

  async #untilListening(): Promise<void> {
    const seats = seatsOf(this.#shared.roster, 'acceptor');
    await this.#until(
      () => seats.every(({ index }) => this.#board.state(index) === 'up'),
      'acceptor',
      'it does not listen',
    );
  }

  /** Ready means that each lane has a segment to write to. */
  async #untilSpares(): Promise<void> {
    const { parts } = this.#shared.engine;
    if (parts.keeper === undefined) return;
    const controls = parts.lanes.map((lane) => new LaneControl(lane.control));
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

  #sayAbsent(): void {
    for (const { name, kept, owedBytes } of this.#shared.engine.absent)
      this.log.warn(
        { sink: name, owedBytes, kept },
        kept
          ? 'a sink of this log is not in OUTPUTS; its undelivered segments are kept (SINK_KEEP)'
          : 'a sink of this log is not in OUTPUTS; what it has not delivered is not kept for it (SINK_KEEP keeps, `ringmain journal forget` forgets)',
      );
  }

  /** SIGHUP: log files are opened anew, certificates read again. */
  reload(): void {
    for (const { index } of this.#shared.roster) {
      this.#board.askReload(index);
      this.#wake.wake(index);
    }
  }

  /** Tells all threads of a kind what to do now. */
  #phase(kind: SeatKind, phase: Phase): void {
    for (const { index } of seatsOf(this.#shared.roster, kind)) {
      this.#board.setPhase(index, phase);
      this.#wake.wake(index);
    }
  }

  #join(kind: SeatKind, ms: number): Promise<string[]> {
    return this.#supervisor!.join(
      seatsOf(this.#shared.roster, kind).map(({ name }) => name),
      ms,
    );
  }

  /** SIGTERM. The second call ends at once. */
  async drain(): Promise<void> {
    if (this.#draining) {
      this.log.warn('ended by a second signal; the journal keeps what is not delivered');
      await this.#abandon(exitCodes.internal);
      return;
    }
    this.#draining = true;
    const { drainDelayMs, drainTimeoutMs } = this.#configured.values.service;
    this.#board.setStage('draining');
    this.log.info({ drainDelayMs, drainTimeoutMs }, 'draining');
    await pause(drainDelayMs);
    const deadline = performance.now() + drainTimeoutMs;
    const left = () => Math.max(0, deadline - performance.now());
    this.#supervisor!.stop();
    for (const step of this.#drainSteps) if (!(await step.call(this, left))) return;
    this.log.info('drained');
    this.#exit(exitCodes.ok);
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
    const seats = seatsOf(this.#shared.roster, 'acceptor');
    this.#phase('acceptor', 'drain');
    const grace = performance.now() + Math.min(IDLE_GRACE_MS, this.#configured.values.service.drainTimeoutMs / 4);
    // An acceptor says `stopped` when its last connection has gone.
    while (!seats.every(({ index }) => this.#board.state(index) === 'stopped') && performance.now() < grace)
      await pause(10);
    this.#phase('acceptor', 'stop');
    const stuck = await this.#join('acceptor', left());
    if (stuck.length === 0) return true;
    this.log.error({ threads: stuck }, 'acceptors did not end in time');
    await this.#abandon(exitCodes.internal);
    return false;
  }

  async #drainWorkers(left: () => number): Promise<boolean> {
    await this.#endInTime('worker', left, 'workers could not finish in time');
    return true;
  }

  async #drainOutputs(left: () => number): Promise<boolean> {
    await this.#endInTime('output', left, 'sinks could not deliver everything in time; the journal keeps it');
    return true;
  }

  async #endInTime(kind: SeatKind, left: () => number, late: string): Promise<void> {
    this.#phase(kind, 'drain');
    // The end must come within DRAIN_TIMEOUT_MS: a part of it is for threads that have to be told twice, another for the keeper's last sync.
    const grace = Math.min(STOP_GRACE_MS, this.#configured.values.service.drainTimeoutMs / 8);
    const threads = await this.#join(kind, left() - 2 * grace);
    if (threads.length === 0) return;
    this.#phase(kind, 'stop');
    const stuck = await this.#join(kind, grace);
    this.log.warn({ threads, stuck }, late);
  }

  async #drainKeeper(left: () => number): Promise<boolean> {
    this.#phase('keeper', 'drain');
    await this.#join('keeper', left());
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
    this.log.fatal({ thread: name, reason }, 'the process cannot go on');
    await this.#abandon(exitCodes.internal);
  }

  /** Ends without delivering. Acceptors close their sockets first: the addon would abort the process otherwise. */
  async #abandon(code: number): Promise<void> {
    this.#supervisor!.stop();
    this.#phase('acceptor', 'abort');
    await this.#join('acceptor', 500);
    this.#exit(code);
  }

  /** After a start that failed half-way. */
  async abort(): Promise<void> {
    if (this.#supervisor !== undefined) await this.#abandon(exitCodes.config);
    this.#shared?.engine.release();
  }
}

/** Where the roles listen: each has an address; a role without routes shares the first one's. */
export function addressesOf(roles: readonly NamedRole[], values: Configured['values']): readonly string[] {
  const own = roles.filter(({ acceptor }) => acceptor !== undefined);
  return (own.length > 0 ? own : roles.slice(0, 1)).map((role) => role.address?.(values) ?? values.http.serverAddr);
}

const pause = (ms: number): Promise<void> =>
  ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve();
