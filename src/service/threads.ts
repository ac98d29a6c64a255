/**
 * Threads: spawns the threads of a process by its roster, connects acceptors with workers, and tells each kind what to
 * do.
 */
import type { Engine } from '../engine/engine.ts';
import { Ring } from '../engine/ring.ts';
import { errorOf } from '../kernel/errors.ts';
import type { Logger, LogTarget } from '../kernel/log.ts';
import { type Phase, ThreadBoard } from '../kernel/threads/board.ts';
import { type Roster, type Seat, type SeatKind, seatsOf } from '../kernel/threads/roster.ts';
import { Supervisor } from '../kernel/threads/supervisor.ts';
import { WakeWords } from '../kernel/threads/wake.ts';
import type { SpanData, SpanNews, TracingConfig } from '../kernel/tracing.ts';
import type { AcceptorData, AcceptorNews } from './acceptor-thread.ts';
import type { ConnectAcceptor, ConnectWorker } from './calls.ts';
import { type Configured, rolesIn } from './configured.ts';
import type { WorkerSpec } from './contract.ts';
import type { OutputThreadData } from './output-thread.ts';
import type { SchedulerData } from './scheduler-worker.ts';
import type { NamedRole, SeatShared } from './seat.ts';
import type { WorkerThreadData } from './worker-thread.ts';

/** Largest record of a role that does not say another. */
const RECORD_BYTES_MAX = 64 * 1024;
/** Bodies of requests live across a few turns: with half of it batches on /collect cost 2 and 19 % more (two runs). */
const ACCEPTOR_YOUNG_MIB = 6;

const thread = (path: string): URL =>
  new URL(`${path}${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

/** The memory that all threads share. */
export interface ProcessShared {
  readonly engine: Engine;
  readonly roster: Roster;
  readonly threads: SharedArrayBuffer;
  readonly wake: SharedArrayBuffer;
  readonly metrics: SharedArrayBuffer;
}

export interface ThreadsDeps {
  readonly configured: Configured;
  readonly roles: readonly NamedRole[];
  readonly workers: readonly RoleWorker[];
  /** Threads that take requests. */
  readonly acceptors: number;
  /** Connections of all of them together. */
  readonly connections: number;
  readonly shared: ProcessShared;
  /** What each role's prepare() returned; complete before the first thread is spawned. */
  readonly prepared: Readonly<Record<string, unknown>>;
  /** Undefined: no tracing. */
  readonly tracing: TracingConfig | undefined;
  readonly log: Logger;
  readonly logOptions: LogTarget;
  onSpan(span: SpanData): void;
  /** An acceptor could not begin, or cannot go on. */
  onFailure(error: Error): void;
  /** A thread that cannot be replaced has ended: the process must end. */
  onFatal(thread: string, reason: string): void;
}

export class Threads {
  readonly #deps: ThreadsDeps;
  readonly #supervisor: Supervisor;
  readonly #wake: WakeWords;
  readonly board: ThreadBoard;

  constructor(deps: ThreadsDeps) {
    this.#deps = deps;
    this.#supervisor = new Supervisor(deps.log, (name, reason) => deps.onFatal(name, reason));
    this.#wake = new WakeWords(deps.shared.wake);
    this.board = new ThreadBoard(deps.shared.threads);
  }

  seats(kind: SeatKind): readonly Seat[] {
    return seatsOf(this.#deps.shared.roster, kind);
  }

  spawnKeeper(): void {
    const { keeper } = this.#deps.shared.engine.shared;
    const [seat] = this.seats('keeper');
    if (keeper === undefined) return;
    const data = { shared: keeper, metrics: this.#deps.shared.metrics, log: this.#deps.logOptions };
    this.#spawn(seat!.name, [seat!], '../engine/keeper-thread', data, { onDeath: 'restart' });
  }

  spawnOutputs(): void {
    const { values, outputs } = this.#deps.configured;
    const { engine, metrics } = this.#deps.shared;
    const { sinks } = values;
    for (const seat of this.seats('output')) {
      const output = outputs[seat.number]!;
      const role = this.#deps.roles.find((one) => one.outputs?.some(({ name }) => name === output.name));
      const data: OutputThreadData = {
        output,
        index: seat.number,
        outputs: outputs.map(({ name }) => name),
        values,
        shared: role === undefined ? undefined : this.#deps.prepared[role.name],
        engine: engine.shared,
        live: true,
        patient: false,
        deadLetterDir: sinks.deadLetterDir,
        recordBytesMax: Math.max(...this.#deps.roles.map((role) => role.recordBytesMax?.(values) ?? RECORD_BYTES_MAX)),
        lagBytesMax: sinks.onLag === 'drop' ? sinks.maxLagBytes : 0,
        metrics,
        slot: seat.index,
        log: this.#deps.logOptions,
        traced: this.#deps.tracing !== undefined,
      };
      this.#spawn(seat.name, [seat], './output-thread', data, {
        onDeath: 'restart',
        ...(output.youngMiB === undefined ? {} : { youngMiB: output.youngMiB }),
        ...(output.oldMiB === undefined ? {} : { oldMiB: output.oldMiB }),
        // A dead reader's pin would stop the producers until its heir comes, which may take 30 s.
        onEnd: () => {
          if (outputs[seat.number]!.source !== undefined) return;
          for (const lane of engine.shared.lanes) new Ring(lane.ring).clearPin(seat.reader);
        },
      });
    }
  }

  spawnWorkers(): void {
    for (const [name, together] of Map.groupBy(this.#workerSeats(), threadOf)) {
      const data: WorkerThreadData = {
        seats: together.map(({ seat, role, spec }) => ({
          ...this.#seatShared(seat),
          engine: this.#deps.shared.engine.shared,
          role,
          module: spec.module.href,
          data: spec.data,
        })),
      };
      const young = together.flatMap(({ spec }) => spec.youngMiB ?? []);
      this.#spawn(
        name,
        together.map(({ seat }) => seat),
        './worker-thread',
        data,
        {
          onDeath: together.some(({ spec }) => spec.onDeath === 'fatal') ? 'fatal' : 'restart',
          ...(young.length === 0 ? {} : { youngMiB: Math.max(...young) }),
          onStarted: () => {
            for (const worker of together)
              for (const acceptor of this.seats('acceptor')) this.#connect(acceptor, worker);
          },
        },
      );
    }
  }

  /** The seats of workers, in the order of the roster, each with what sits there. */
  #workerSeats(): readonly SeatedWorker[] {
    const threads = this.#deps.workers.flatMap((worker) =>
      Array.from({ length: worker.spec.count ?? 1 }, () => worker),
    );
    return this.seats('worker').map((seat, i) => ({ ...threads[i]!, seat }));
  }

  spawnAcceptors(): void {
    for (const seat of this.seats('acceptor')) {
      const data: AcceptorData = {
        ...this.#seatShared(seat),
        engine: this.#deps.shared.engine.shared,
        connectionsMax: Math.max(1, Math.floor(this.#deps.connections / this.#deps.acceptors)),
        tracing: this.#deps.tracing,
      };
      this.#spawn(seat.name, [seat], './acceptor-thread', data, {
        onDeath: 'fatal',
        youngMiB: Math.max(ACCEPTOR_YOUNG_MIB, ...rolesIn(this.#deps.configured).map((role) => role.youngMiB ?? 0)),
        onStarted: () => {
          for (const worker of this.#workerSeats()) this.#connect(seat, worker);
        },
      });
    }
  }

  #seatShared(seat: Seat): SeatShared {
    const { service, roles, values, outputs } = this.#deps.configured;
    const { roster, threads, wake, metrics, engine } = this.#deps.shared;
    return {
      service: service.module,
      roles,
      values,
      prepared: this.#deps.prepared,
      roster,
      seat,
      threads,
      wake,
      sinks: engine.shared.board,
      metrics,
      outputs: outputs.map(({ name }) => name),
      log: this.#deps.logOptions,
    };
  }

  /** Starts a thread and seats all of these in it. */
  #spawn(
    name: string,
    seats: readonly Seat[],
    file: string,
    data: unknown,
    rest: {
      onDeath: 'restart' | 'fatal';
      onEnd?: () => void;
      onStarted?: () => void;
      youngMiB?: number;
      oldMiB?: number;
    },
  ): void {
    this.#supervisor.spawn({
      ...rest,
      name,
      file: thread(file),
      data,
      onMessage: (news) => {
        const told = news as AcceptorNews | SpanNews;
        if ('span' in told) this.#deps.onSpan(told.span);
        else this.#deps.onFailure(errorOf(told.failed));
      },
      onStart: () => {
        for (const { index } of seats) {
          this.board.setState(index, 'starting');
          this.board.setRunning(index, true);
        }
      },
      onEnd: () => {
        for (const { index } of seats) this.board.setRunning(index, false);
        rest.onEnd?.();
      },
    });
  }

  /** Gives an acceptor and a worker the ends of a channel; nothing when one of them does not run yet. */
  #connect(acceptor: Seat, worker: SeatedWorker): void {
    const supervisor = this.#supervisor;
    const thread = threadOf(worker);
    if (!supervisor.runs(acceptor.name) || !supervisor.runs(thread)) return;
    const { port1, port2 } = new MessageChannel();
    supervisor.post(thread, { connect: port1, seat: worker.seat.index } satisfies ConnectAcceptor, [port1]);
    supervisor.post(acceptor.name, { connect: port2, worker: worker.spec.name } satisfies ConnectWorker, [port2]);
  }

  /** Tells all threads of a kind what to do now. */
  phase(kind: SeatKind, phase: Phase): void {
    for (const { index } of this.seats(kind)) {
      this.board.setPhase(index, phase);
      this.#wake.wake(index);
    }
  }

  /** All threads open their files anew. */
  reload(): void {
    for (const { index } of this.#deps.shared.roster) {
      this.board.askReload(index);
      this.#wake.wake(index);
    }
  }

  /** From now on an ended thread is what was wanted. */
  stop(): void {
    this.#supervisor.stop();
  }

  /** Waits until the threads of a kind have ended, at most `ms`. Returns the names of those that have not. */
  join(kind: SeatKind, ms: number): Promise<string[]> {
    const names = kind === 'worker' ? this.#workerSeats().map(threadOf) : this.seats(kind).map(({ name }) => name);
    return this.#supervisor.join([...new Set(names)], ms);
  }
}

/** A worker of a role of this process. */
export interface RoleWorker {
  readonly role: string;
  readonly spec: WorkerSpec;
}

type SeatedWorker = RoleWorker & { readonly seat: Seat };

/** Name of the thread that a worker runs on. */
const threadOf = ({ seat, spec }: SeatedWorker): string => spec.thread ?? seat.name;

/** The workers of a role, its scheduler among them. */
export function workersOf(
  role: NamedRole,
  names: readonly string[],
  { service, values }: Configured,
): readonly RoleWorker[] {
  const specs = [...(role.workers?.(values) ?? [])];
  if (role.jobs !== undefined) {
    const { module, dsn } = role.jobs;
    const data: SchedulerData = { module: module.href, names, service: service.name, dsn: dsn(values) };
    // Two roles of one process may have jobs: each has a scheduler of its own.
    specs.push({
      name: `scheduler-${role.name}`,
      module: thread('./scheduler-worker'),
      onDeath: 'restart',
      ...(role.jobs.thread === undefined ? {} : { thread: role.jobs.thread }),
      data,
    });
  }
  return specs.map((spec) => ({ role: role.name, spec }));
}
