/**
 * The contract of a service: what a service is to main.ts, to the main thread and to every thread of its process. A
 * service is a folder and one line in main.ts; its module's default export is a Service, and importing it runs nothing.
 *
 *   service   a name, options, roles, subcommands, migrations
 *   role      what one process runs: routes on a port, outputs, workers, jobs; several roles may share a process
 *   acceptor  a module that makes the routes of a role; every acceptor thread imports it
 *   worker    a module that runs on a thread of its own
 *   job       work at a time of day or every so often, once among all processes (an advisory lock)
 *   output    where records go: a kind of sink with a name of its own
 */
import type { LaneWatcher } from '../engine/lane-watcher.ts';
import type { Wire } from '../http/answer.ts';
import type { BodyReader } from '../http/body.ts';
import type { Faults } from '../http/handlers.ts';
import type { Route } from '../http/router.ts';
import type { Tally } from '../http/tally.ts';
import type { ConfigOf, ConfigSet, Naming } from '../kernel/config.ts';
import type { Finding } from '../kernel/finding.ts';
import type { Logger } from '../kernel/log.ts';
import type { Meters, MetricSet } from '../kernel/metrics.ts';
import type { ConsumerLimits } from '../store/kafka/consumer.ts';
import type { Answer, Effect } from './calls.ts';
import type { Intake, IntakeLane } from './intake.ts';
import type { FrameValues } from './values.ts';

export type ConfigSets = readonly ConfigSet[];
/** The values of a service's own sets, by room, beside those of the frame. */
export type ValuesOf<S extends ConfigSets> = FrameValues & { readonly [T in S[number] as T['room']]: ConfigOf<T> };

// biome-ignore lint/suspicious/noExplicitAny: the frame holds services of every option set.
export type AnyService = Service<any>;

export interface Service<S extends ConfigSets = ConfigSets> {
  /** The first word of the command line: `ringmain <name>`. */
  readonly name: string;
  /** One line for --help. */
  readonly summary: string;
  /** `import.meta.url` of the module whose default export this is: every thread imports it. */
  readonly module: string;
  /** The service's own options. Options of http, engine, intake, delivery, outputs, tracing and log are the frame's. */
  readonly config: S;
  /** Other defaults for the frame's options, as texts of the environment: { SERVER_ADDR: ':8080' }. '': not set. */
  readonly defaults?: Readonly<Record<string, string>>;
  /** Options of the frame or of a kind that mean nothing here: nobody can set them, and they have their defaults. */
  readonly without?: readonly string[];
  /**
   * Other names for options of the frame, by the option: { DATABASE_URL: 'PG_DSN', 'database.dsn': 'PG_DSN' }, in the
   * environment and with a dot in a YAML file. They are read wherever the option is, and win over its own name within a
   * source.
   */
  readonly aliases?: Readonly<Record<string, string>>;
  /**
   * Values that follow from others, by room: { postgres: { ...values.postgres, pgDsn } } where POSTGRES_HOST stands for
   * a connection string. Rooms that are left out stay as they are. `roles`: those of the process.
   */
  readonly derive?: (values: ValuesOf<S>, roles: readonly string[]) => Partial<ValuesOf<S>>;
  /** The second word of the command line. A service with one role calls it 'all'. */
  readonly roles: Readonly<Record<string, Role<ValuesOf<S>>>>;
  /** Roles of a process whose command line names none, or `all`. Default: every role. */
  readonly together?: readonly string[];
  /** `ringmain <name> <subcommand>`: tools of the service. */
  readonly commands?: Readonly<Record<string, Subcommand<ValuesOf<S>> | Tool>>;
  /** Its schema: changed by `ringmain migrate <name> up`, and at start when `atStart` says so. */
  readonly migrations?: Migrations<ValuesOf<S>>;
}

/** Declares a service; the types of its values follow from its option sets. */
export const defineService = <const S extends ConfigSets>(service: Service<S>): Service<S> => service;

export interface Migrations<V> {
  readonly folder: URL;
  /** Connection string of the database; undefined: the service has none now. */
  dsn(values: V): string | undefined;
  /**
   * True: the process applies what is missing before its threads start. False: the start is refused until `migrate up`
   * has run.
   */
  atStart?(values: V): boolean;
}

export interface Subcommand<V> {
  /** One line for --help. */
  readonly summary: string;
  /** Text of `ringmain <service> <subcommand> --help`, with an example. */
  readonly help: string;
  /** Option flags are read already; `words` are the others. Returns the exit code. */
  run(values: V, words: readonly string[]): Promise<number>;
}

/** A subcommand that is a table of commands (tool/subcommand.ts): it reads its words, flags and options by itself. */
export interface Tool {
  /** One line for --help. */
  readonly summary: string;
  /** Returns the exit code. */
  tool(service: AnyService, argv: readonly string[]): Promise<number>;
}

export interface Role<V = FrameValues, Shared = unknown> {
  /** One line for --help. */
  readonly summary: string;
  /** Names of the role's routes: closed lists of metric labels and span names. */
  readonly routes?: readonly string[];
  /** Module whose default export is an Acceptor. Left out: the role listens only for /healthz, /readyz and /metrics. */
  readonly acceptor?: URL;
  /** Where it listens, host:port. Default: SERVER_ADDR. Two roles of one process need two addresses. */
  address?(values: V): string;
  /** The option that `address` comes from, for the doctor's advice. Default: SERVER_ADDR. */
  readonly addressOption?: string;
  /**
   * Most MiB that the young generation of an acceptor takes (threads.ts has the default): more where requests live
   * while a database works, for what survives is copied twice and then clutters the old generation.
   */
  readonly youngMiB?: number;
  /** Metrics of the role beside those of the frame. */
  readonly metrics?: readonly MetricSet[];
  /** Metrics whose labels come from options, the same in each thread. */
  metricsOf?(values: V): readonly MetricSet[];
  /** Where its records go; OUTPUTS chooses among them. */
  readonly outputs?: readonly Output<V>[];
  /**
   * Other defaults than the service's for a process that runs this role alone: two roles of one machine, started
   * without options, must not meet at one port.
   */
  readonly defaults?: Readonly<Record<string, string>>;
  /** Bytes of the largest record that it publishes or reads from its source. Default: 64 KiB. */
  recordBytesMax?(values: V): number;
  /** Default of OUTPUTS. Left out: all of them. */
  readonly defaultOutputs?: readonly string[];
  workers?(values: V): readonly WorkerSpec[];
  /**
   * Module whose default export makes the jobs (Jobs of scheduler.ts), their names, and the Postgres that holds their
   * locks.
   */
  readonly jobs?: {
    readonly module: URL;
    readonly names: readonly string[];
    dsn(values: V): string | undefined;
    /** As that of a worker, for the scheduler that runs them. */
    readonly thread?: string;
  };
  /** Folder of built browser files, served at `/` behind the routes. */
  readonly web?: URL;
  /** Content-Security-Policy of its pages. Default: `strictCsp` of http/assets.ts. */
  readonly webCsp?: string;
  /** Main, before any thread starts: what all threads must agree on. Plain data and shared memory. */
  prepare?(values: V, main: MainContext): Promise<Shared> | Shared;
  /** Fields for the log line that says that everything is up. */
  ready?(values: V): Readonly<Record<string, unknown>>;
  /**
   * What the start would refuse: paths, files, options that do not go with the roles of this process. One line per
   * problem.
   */
  problems?(values: V, roles: readonly string[]): readonly string[];
  /**
   * What the start would refuse for what is in the migrated database, before any thread starts. One line per problem.
   */
  storeProblems?(values: V): Promise<readonly string[]>;
  /** What `ringmain doctor` says of the role's own options. Errors also fail --check-config. */
  examine?(values: V): AsyncIterable<Finding>;
  /**
   * What `ringmain doctor` finds out by asking servers of the role; --check-config asks none. `named`: what the
   * operator calls an option.
   */
  inquire?(values: V, named: Naming): AsyncIterable<Finding>;
  /** Requests that TEST_MODE sends at start; their events bear a mark that reports leave out. */
  samples?(values: V): readonly Sample[];
  /** Lines for somebody who has just started it by hand; `at` is its URL. */
  welcome?(values: V, at: string): readonly string[];
}

/** A request of TEST_MODE. */
export interface Sample {
  readonly method: 'GET' | 'POST';
  /** With the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface MainContext {
  readonly log: Logger;
  /** The journal's folder; undefined: memory only. */
  readonly journal: string | undefined;
}

/**
 * A sink by name. Its name is the name of its checkpoint, a metric label and a word of OUTPUTS; several outputs may be
 * of one kind.
 */
export interface Output<V> {
  readonly name: string;
  readonly kind: 'log' | 'kafka' | 'postgres' | 'http';
  /** Whether it exists with these values; it is left out of OUTPUTS otherwise. Default: always. */
  readonly when?: { readonly text: string; holds(values: V): boolean };
  /** Values that differ from those of the kind's options: another topic, another table. Checked like options. */
  options?(values: V): Readonly<Record<string, unknown>>;
  /**
   * kind kafka: what brings a topic that is missing, or names another one, for the doctor's advice; where KAFKA_TOPIC is
   * no option of the service. `named`: what the operator calls an option.
   */
  topicAdvice?(named: Naming): string;
  /** Kinds of records it takes (events/record.ts); others are passed over and counted as skipped. Default: all. */
  readonly records?: readonly number[];
  /** kind postgres: module whose default export loads a batch in the transaction (sinks/postgres/transaction.ts). */
  readonly load?: URL;
  /**
   * True: its load adds records to sums and does not recognise one that comes again, so `ringmain journal replay`
   * refuses it. Default: false.
   */
  readonly counts?: boolean;
  /**
   * True: the role asks the target itself (inquire), and knows when nobody need answer. The doctor would call it away, and
   * name options that the service does not have. Default: false.
   */
  readonly inquired?: boolean;
  /** Most MiB that the young generation of its thread takes (kernel/threads/supervisor.ts has the default). */
  readonly youngMiB?: number;
  /** Most MiB that the old generation of its thread takes (kernel/threads/supervisor.ts). Default: V8's own. */
  readonly oldMiB?: number;
  /** Where its records come from. Undefined, the default: the lanes of this process. */
  source?(values: V): KafkaSourceOptions | undefined;
}

/** Records of a Kafka topic, read by a consumer group. Limits that are left out are those of the consumer. */
export interface KafkaSourceOptions extends Partial<ConsumerLimits> {
  readonly topics: readonly string[];
  readonly groupId: string;
  /** Where a new group starts. */
  readonly start: 'earliest' | 'latest';
  readonly sessionTimeoutMs: number;
}

/** Default export of an acceptor module. */
export interface Acceptor<V = FrameValues, Shared = unknown> {
  open(frame: AcceptorFrame<V, Shared>): Promise<Mounted> | Mounted;
  /**
   * Requests, as they stand on the wire, that are played before the port opens so that the code is compiled
   * (rehearsal.ts).
   */
  readonly rehearsal?: readonly string[];
}

export interface Mounted {
  readonly routes: readonly Route[];
  /** Called ten times a second: puts gauges of the routes on the board. */
  gauges?(): void;
  /** The drain begins: answers that have no end of their own are ended. */
  drain?(): void;
  /** Lets go of what the routes hold. */
  close?(): void;
}

export interface AcceptorFrame<V = FrameValues, Shared = unknown> {
  readonly values: V;
  readonly shared: Shared;
  readonly log: Logger;
  /** True: these routes are played through before the port opens, and closed again. They open nothing slow. */
  readonly rehearsing: boolean;
  /** Takes records into this thread's lane, and knows when an answer may leave. */
  readonly intake: Intake;
  /** Counts answers of a route by its name, for handlers that keep it; others find it in their MountedRoute. */
  tally(route: string): Tally;
  /** Bodies of requests, bounded for the whole thread. */
  readonly bodies: BodyReader;
  readonly wire: Wire;
  readonly faults: Faults;
  /** TLS ends in this process. */
  readonly secure: boolean;
  /** The cells of a metric set that the role declares, for this thread. */
  meters<M extends MetricSet>(set: M): Meters<M>;
  /**
   * Asks a worker of this process by its name. Rejects with WORKER_BUSY beyond the bound of waiting questions,
   * WORKER_GONE when the worker has died or is being started, WORKER_TIMEOUT after `timeoutMs`. Both say that nothing
   * was changed when the question only `reads`; of one that `changes` something, nobody knows the outcome then.
   */
  ask(worker: string, question: unknown, timeoutMs: number, effect: Effect): Promise<unknown>;
  readonly now: () => number;
}

export interface WorkerSpec {
  readonly name: string;
  /** Module whose default export is a Worker. */
  readonly module: URL;
  /** Threads of it. Default 1. */
  readonly count?: number;
  /** True: each of its threads has a lane and may publish records. */
  readonly publishes?: boolean;
  /** restart: it is started again after a pause that doubles to 30 s. fatal: the process ends. */
  readonly onDeath: 'restart' | 'fatal';
  /**
   * Workers that name the same thread share it. A thread costs 12 to 16 MiB, so those that wait most of the time go
   * together; what one computes holds up the others, and when one dies, all of them are started again. Left out: each
   * of its threads is its own.
   */
  readonly thread?: string;
  /** Plain data for its frame. */
  readonly data?: unknown;
  /** As that of a role, for each thread of this worker (kernel/threads/supervisor.ts has the default). */
  readonly youngMiB?: number;
}

/** Default export of a worker module. */
export interface Worker<V = FrameValues, Shared = unknown> {
  /** Returns when the signal has fired and everything is settled. Calling `ready` turns /readyz green for this seat. */
  run(frame: WorkerFrame<V, Shared>): Promise<void>;
}

export interface WorkerFrame<V = FrameValues, Shared = unknown> {
  readonly values: V;
  readonly shared: Shared;
  readonly log: Logger;
  /** Which of the `count` threads this is. */
  readonly index: number;
  /** What its spec gives it. */
  readonly data: unknown;
  /** Fires when the process drains. */
  readonly signal: AbortSignal;
  meters<M extends MetricSet>(set: M): Meters<M>;
  /** It can do its work now. */
  ready(): void;
  /** It cannot do its work now, and why; /readyz is red until ready(). */
  away(reason: string): void;
  /**
   * Answers the questions of acceptors; at most `concurrency` at a time, the others wait in their order. Default: no
   * bound. An answer that waits for work which is under way for others calls `leave` first: it counts no longer.
   */
  serve(answer: Answer, concurrency?: number): void;
  /** With `publishes`: its lane. */
  readonly lane: IntakeLane | undefined;
  /** The log of this process: its id, whether it outlasts the process, and how the outputs that read it stand. */
  readonly journal: WorkerJournal;
  /** With `publishes`: publishes the draft, and resolves when the level holds. */
  publish(level: 'memory' | 'journal' | 'sync'): Promise<void>;
}

export interface WorkerJournal {
  /** 32 hex digits. */
  readonly id: string;
  /** False: it is in memory alone, and every life of the process has another id. */
  readonly lasting: boolean;
  /** Outputs that read the lanes of this process, as their threads last told; one that has told nothing is missing. */
  outputs(): readonly OutputStanding[];
  /** What all lanes of this process get from now on, and what they got before, for who looks on (lane-watcher.ts). */
  watch(): LaneWatcher;
}

export interface OutputStanding {
  readonly name: string;
  /** Records that it has dealt with, and those that it has not, since its first start on this log. */
  readonly passed: number;
  readonly lag: number;
  /** When the oldest record was written that it has not dealt with, ms since 1970; 0: it has not said. */
  readonly oldestMs: number;
}
