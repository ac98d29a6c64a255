/** Command `ringmain pixel`: options, the start, the words on the screen, signals. */
import { request } from 'node:http';
import { request as secureRequest } from 'node:https';
import { resolve } from 'node:path';
import { engineConfig } from '../engine/config.ts';
import { httpConfig, tlsFiles } from '../http/config.ts';
import { type Endpoint, parseEndpoint } from '../http/endpoint.ts';
import { type ConfigSet, helpText, loadConfig, printConfig, setEnvironment } from '../kernel/config.ts';
import { errors, exitCodes } from '../kernel/errors.ts';
import { kernelConfig } from '../kernel/log.ts';
import { tracingConfig } from '../kernel/tracing.ts';
import { pixelConfigs } from '../pixel/config.ts';
import { type SinkName, sinkNames, sinksConfig } from '../sinks/config.ts';
import { sinkConfigs } from '../sinks/registry.ts';
import { HEAD_BYTES_MAX, PixelService, type PixelValues } from './process.ts';

/** All options of the collector, in the order of the reference. */
export const pixelSets = [
  httpConfig,
  ...pixelConfigs,
  engineConfig,
  sinksConfig,
  ...Object.values(sinkConfigs),
  tracingConfig,
  kernelConfig,
] as const;

/** One Ctrl-C under npm, or the TERM of `timeout`, arrives twice: from the sender and from whoever passes it on. That is one wish. */
const ECHO_MS = 100;

const switches = ['check-config', 'print-config', 'help'] as const;

interface Read {
  readonly values: PixelValues;
  readonly warnings: readonly string[];
  readonly switches: ReadonlySet<string>;
  readonly printed: () => string;
}

export function readPixelConfig(argv: readonly string[]): Read {
  const loaded = loadConfig(pixelSets as readonly ConfigSet[], { argv, switches });
  if (loaded.words.length > 0) throw errors.USAGE({ reason: `options begin with --: found=${loaded.words.join(' ')}` });
  const all = loaded.values as unknown as Record<string, unknown>;
  const sinkValues = Object.fromEntries(
    sinkNames.map((name) => [name, all[sinkConfigs[name]?.room ?? name]]),
  ) as Record<SinkName, unknown>;
  const values = { ...(all as unknown as Omit<PixelValues, 'sinkValues'>), sinkValues };
  return {
    values,
    warnings: loaded.warnings,
    switches: loaded.switches,
    printed: () => printConfig(pixelSets as readonly ConfigSet[], loaded as Parameters<typeof printConfig>[1]),
  };
}

export async function runPixel(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) {
    process.stdout.write(`ringmain pixel [--option=value ...]\n\n${helpText(pixelSets as readonly ConfigSet[])}\n`);
    return exitCodes.ok;
  }
  const { values, warnings, switches: asked, printed } = readPixelConfig(argv);
  if (asked.has('print-config')) process.stdout.write(`${printed()}\n`);
  if (asked.has('check-config')) process.stdout.write('the configuration is valid\n');
  if (asked.has('print-config') || asked.has('check-config')) return exitCodes.ok;

  // The addon reads it once, when the first acceptor loads it.
  setEnvironment('UWS_HTTP_MAX_HEADERS_SIZE', String(HEAD_BYTES_MAX));
  const service = new PixelService(values);
  for (const warning of warnings) service.log.warn(warning);
  try {
    await service.start();
  } catch (error) {
    await service.abort();
    throw error;
  }
  let told = Number.NEGATIVE_INFINITY;
  const end = () => {
    if (performance.now() - told < ECHO_MS) return;
    told = performance.now();
    void service.drain();
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', () => service.reload());
  service.log.info(banner(values, service), 'ready');
  process.stderr.write(welcome(values));
  return service.ended;
}

function banner(values: PixelValues, service: PixelService): Record<string, unknown> {
  const { http, engine, collect, sinks } = values;
  return {
    listen: http.serverAddr,
    acceptors: service.acceptors,
    outputs: sinks.outputs,
    journal: engine.journalDir,
    ackPixel: collect.ackPixel ?? collect.ack,
    ackCollect: collect.ackCollect ?? collect.ack,
  };
}

const promises = {
  memory: 'taken into memory; lost when this process dies',
  journal: 'written to the log; survives kill -9 of this process, not a power cut',
  sync: 'on the disk (fdatasync); survives a power cut',
} as const;

/** What somebody reads who has just typed `npm start`. */
export function welcome(values: PixelValues): string {
  const { http, engine, collect, sinks } = values;
  const at = localUrl(tlsFiles(http) !== undefined, parseEndpoint(http.serverAddr) as Endpoint);
  const logPath = (values.sinkValues.log as { logPath: string }).logPath;
  const where = sinks.outputs
    .map((name) => (name === 'log' ? (logPath === 'stdout' ? 'standard output' : resolve(logPath)) : name))
    .join(', ');
  const level = collect.ackPixel ?? collect.ack;
  const lines = [
    `Ringmain listens on ${at}`,
    `events go to     ${where}`,
    `the log is in    ${engine.journalDir === 'off' ? 'memory only' : resolve(engine.journalDir)}`,
    `a 2xx means      ${level}: ${promises[level]}`,
    `try              curl -i '${at}/px.gif?e=hello&color=green'`,
  ];
  return `${lines.join('\n')}\n`;
}

function localUrl(tls: boolean, { host, port }: Endpoint): string {
  const any = host === '' || host === '0.0.0.0' || host === '::';
  const name = any ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `${tls ? 'https' : 'http'}://${name}:${port}`;
}

const HEALTH_MS = 3000;

/** `--healthcheck`: asks /healthz of the address that the same environment makes the collector listen on. */
export async function healthcheck(argv: readonly string[]): Promise<number> {
  const { http } = readPixelConfig(argv).values;
  const admin = http.adminAddr !== '';
  const tls = !admin && tlsFiles(http) !== undefined;
  const { port, host } = parseEndpoint(admin ? http.adminAddr : http.serverAddr) as Endpoint;
  const hostname = host === '' || host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const options = { hostname, port, path: '/healthz', timeout: HEALTH_MS, rejectUnauthorized: false };
  return new Promise((settle) => {
    const asked = (tls ? secureRequest : request)(options, (res) => {
      res.resume();
      settle(res.statusCode === 200 ? exitCodes.ok : 1);
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${HEALTH_MS} ms`)));
    asked.on('error', (error) => {
      process.stderr.write(`healthcheck: ${error.message}\n`);
      settle(1);
    });
    asked.end();
  });
}
