/**
 * Pixel: the event collector. Two routes take events (the room collect/), and the outputs are called like their kinds.
 * A drop-in for GoTrack Pixel: same routes, event model, environment variables, Kafka records and Postgres table.
 */
import { resolve } from 'node:path';
import { collectMetricSets, collectRouteNames } from '../collect/metrics.ts';
import { collectSamples } from '../collect/samples.ts';
import { defineService, type ValuesOf } from '../service/contract.ts';
import { sibling } from '../service/sibling.ts';
import { sinkKinds } from '../sinks/registry.ts';
import { pixelConfigs } from './config.ts';

type PixelValues = ValuesOf<typeof pixelConfigs>;

export default defineService({
  name: 'pixel',
  summary: 'collect events: GET /px.gif, POST /collect',
  module: import.meta.url,
  config: pixelConfigs,
  roles: {
    all: {
      summary: 'the whole collector',
      routes: collectRouteNames,
      acceptor: sibling(import.meta, './acceptor.ts'),
      metrics: collectMetricSets,
      outputs: sinkKinds.map((kind) => ({ name: kind, kind })),
      defaultOutputs: ['log'],
      recordBytesMax: ({ collect }) => collect.maxEventBytes,
      prepare: async ({ visitor }, { journal, log }) => ({
        salts: (await import('../visitor/privacy.ts')).openSalts(visitor, journal, log),
      }),
      ready: ({ collect }) => ({
        ackPixel: collect.ackPixel ?? collect.ack,
        ackCollect: collect.ackCollect ?? collect.ack,
      }),
      examine: async function* ({ visitor, http }) {
        yield* (await import('../visitor/examine.ts')).examineVisitors(visitor, http);
      },
      samples: () => collectSamples,
      welcome,
    },
  },
});

const promises = {
  memory: 'taken into memory; lost when this process dies',
  journal: 'written to the log; survives kill -9 of this process, not a power cut',
  sync: 'on the disk (fdatasync); survives a power cut',
} as const;

/** What somebody reads who has just typed `npm start`. */
function welcome(values: PixelValues, at: string): readonly string[] {
  const { engine, collect, sinks } = values;
  const { logPath } = (values as unknown as { readonly file: { readonly logPath: string } }).file;
  const where = sinks.outputs.map((name) => {
    if (name !== 'log') return name;
    return logPath === 'stdout' ? 'standard output' : resolve(logPath);
  });
  const level = collect.ackPixel ?? collect.ack;
  return [
    `Ringmain listens on ${at}`,
    `events go to     ${where.join(', ')}`,
    `the log is in    ${engine.journalDir === 'off' ? 'memory only' : resolve(engine.journalDir)}`,
    `a 2xx means      ${level}: ${promises[level]}`,
    `try              curl -i '${at}/px.gif?e=hello&color=green'`,
  ];
}
