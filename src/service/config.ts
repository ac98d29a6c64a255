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
    unset: 'number of cores minus one, at least 1',
    doc:
      'Threads that handle requests. Each owns a lane: a ring and its segments. May change from one start to the ' +
      'next.',
  }),
  metricsEnabled: bool({
    default: true,
    doc: 'Serve /metrics. false: it is answered 404; /healthz and /readyz stay.',
  }),
  testMode: bool({
    default: false,
    doc:
      'At startup, send five sample events through the whole path and log for each sink whether they arrived. ' +
      'They are stored like any other event, under the name ringmain_test, and the reports of deploy/sql leave ' +
      'them out.',
  }),
  drainDelayMs: duration({
    default: 0,
    min: 0,
    max: 600_000,
    doc: 'How long /readyz is red after SIGTERM before the port closes, so that load balancers notice.',
  }),
  drainTimeoutMs: duration({
    default: 10_000,
    min: 0,
    max: 3_600_000,
    doc:
      'Maximum time from SIGTERM to exit, not counting DRAIN_DELAY_MS. What sinks could not deliver by then stays ' +
      'in the journal.',
  }),
});
export type ServiceConfig = ConfigOf<typeof serviceConfig>;

/** The outputs that a service has, as options; `names` are the words of OUTPUTS, `notes` sentences about some. */
export const outputsConfig = (names: readonly string[], defaults: readonly string[], notes: readonly string[] = []) =>
  defineConfig(
    'sinks',
    {
      outputs: list({
        of: names,
        default: defaults,
        doc: [
          'Where events go. Each output has its own thread and its own position in the journal: one that is down ' +
            'never slows another.',
          ...notes,
        ].join(' '),
      }),
      deadLetterDir: path({
        default: './data/dead-letters',
        doc:
          'Directory for events that a target rejects for good, one NDJSON file per sink; see `ringmain ' +
          'deadletter`.',
      }),
      sinkStart: oneOf(['earliest', 'latest'], {
        default: 'earliest',
        doc:
          'Where a sink starts that has never run on this journal. earliest: at the oldest event still there. ' +
          'latest: at the next event.',
      }),
      sinkKeep: list({
        of: names,
        default: [],
        doc: 'Sinks that are not in OUTPUTS at present and whose undelivered segments are kept for their return.',
      }),
      maxLagBytes: bytes({
        default: 0,
        min: 0,
        max: 1024 * 1024 * GiB,
        doc:
          'Maximum undelivered bytes of a sink per lane; 0: limited by JOURNAL_MAX_BYTES alone. ON_LAG says what ' +
          'happens at the limit.',
      }),
      onLag: oneOf(['refuse', 'drop'], {
        default: 'refuse',
        doc:
          'refuse: requests get 429 until the sink has caught up; nothing is lost. drop: the sink gives up its ' +
          'oldest undelivered events, which are counted.',
      }),
    },
    {
      prefix: 'SINK_',
      check: ({ outputs, sinkKeep }) => [
        ...(outputs.length === 0 && defaults.length > 0 ? ['OUTPUTS must name at least one sink'] : []),
        ...sinkKeep
          .filter((name) => outputs.includes(name))
          .map((name) => `SINK_KEEP must name sinks that are not in OUTPUTS: found=${name}`),
      ],
    },
  );
export type OutputsConfig = ConfigOf<ReturnType<typeof outputsConfig>>;
