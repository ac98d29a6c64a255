/** Options of the frame: how many threads take requests, how a process drains, and where events go. */
import { availableParallelism } from 'node:os';
import {
  bool,
  bytes,
  type ConfigOf,
  defineConfig,
  duration,
  GiB,
  integer,
  list,
  oneOf,
  path,
} from '../kernel/config.ts';

/** Cores as the cgroup allows, less one for the sinks and the kernel. */
export const defaultAcceptors = (): number => Math.max(1, availableParallelism() - 1);

export const serviceConfig = defineConfig('service', {
  acceptors: integer({
    min: 1,
    max: 64,
    aliases: ['WORKER_CONCURRENCY'],
    unset: 'cores less one, at least 1',
    doc: 'Threads that take requests. Each owns a lane: a ring and its segments. May change from start to start.',
  }),
  testMode: bool({
    default: false,
    doc:
      'At start, send five sample events through the whole path and log for each sink whether they arrived. They are ' +
      'stored like others, as events called ringmain_test, and the reports of deploy/sql leave them out.',
  }),
  drainDelayMs: duration({
    default: 0,
    min: 0,
    max: 600_000,
    doc: 'After SIGTERM /readyz is red for this long before the port is closed, so that load balancers see it.',
  }),
  drainTimeoutMs: duration({
    default: 10_000,
    min: 0,
    max: 3_600_000,
    doc:
      'Longest time from SIGTERM to the end, drain delay apart. What sinks could not deliver by then stays in the ' +
      'journal.',
  }),
});
export type ServiceConfig = ConfigOf<typeof serviceConfig>;

/** The outputs that a service has, as options; `names` are the words of OUTPUTS. */
export const outputsConfig = (names: readonly string[], defaults: readonly string[]) =>
  defineConfig(
    'sinks',
    {
      outputs: list({
        of: names,
        default: defaults,
        doc:
          'Where events go. Each has its own thread and its own place in the log: one that is away never slows ' +
          'another.',
      }),
      deadLetterDir: path({
        default: './data/dead-letters',
        doc: 'Folder for events that a target refuses for good, one NDJSON file per sink; see `ringmain deadletter`.',
      }),
      sinkStart: oneOf(['earliest', 'latest'], {
        default: 'earliest',
        doc:
          'Where a sink begins that has never run on this journal: with the oldest event still there, or with the ' +
          'next one.',
      }),
      sinkKeep: list({
        of: names,
        default: [],
        doc: 'Sinks that are not in OUTPUTS now and whose undelivered segments are kept for their return.',
      }),
      maxLagBytes: bytes({
        default: 0,
        min: 0,
        max: 1024 * 1024 * GiB,
        doc: 'Undelivered bytes of one lane that a sink may have; 0: as many as the quota allows. Reached: see ON_LAG.',
      }),
      onLag: oneOf(['refuse', 'drop'], {
        default: 'refuse',
        doc:
          'refuse: requests are answered 429 until the sink has caught up, nothing is lost. drop: the sink gives up ' +
          'its oldest undelivered events, counted.',
      }),
    },
    {
      prefix: 'SINK_',
      check: ({ outputs, sinkKeep }) => [
        ...(outputs.length === 0 && defaults.length > 0 ? ['OUTPUTS must name at least one sink'] : []),
        ...sinkKeep
          .filter((name) => outputs.includes(name))
          .map((name) => `SINK_KEEP names sinks that are not in OUTPUTS: found=${name}`),
      ],
    },
  );
export type OutputsConfig = ConfigOf<ReturnType<typeof outputsConfig>>;
