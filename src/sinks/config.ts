import { bytes, type ConfigOf, defineConfig, GiB, list, oneOf, path } from '../kernel/config.ts';

/** Every kind of sink there is; its name in OUTPUTS, in metrics, in the name of its checkpoint. */
export const sinkNames = ['log', 'kafka', 'postgres', 'http'] as const;
export type SinkName = (typeof sinkNames)[number];

export const sinksConfig = defineConfig(
  'sinks',
  {
    outputs: list({
      of: sinkNames,
      default: ['log'],
      doc: 'Where events go. Each has its own thread and its own place in the log: one that is away never slows another.',
    }),
    deadLetterDir: path({
      default: './data/dead-letters',
      doc: 'Folder for events that a target refuses for good, one NDJSON file per sink; see `ringmain deadletter`.',
    }),
    sinkStart: oneOf(['earliest', 'latest'], {
      default: 'earliest',
      doc: 'Where a sink begins that has never run on this journal: with the oldest event still there, or with the next one.',
    }),
    sinkKeep: list({
      of: sinkNames,
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
      doc: 'refuse: requests are answered 429 until the sink has caught up, nothing is lost. drop: the sink gives up its oldest undelivered events, counted.',
    }),
  },
  {
    check: ({ outputs, sinkKeep }) => [
      ...(outputs.length === 0 ? ['OUTPUTS must name at least one sink'] : []),
      ...sinkKeep
        .filter((name) => outputs.includes(name))
        .map((name) => `SINK_KEEP names sinks that are not in OUTPUTS: found=${name}`),
    ],
  },
);
export type SinksConfig = ConfigOf<typeof sinksConfig>;
