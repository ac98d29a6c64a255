/** Command `ringmain <service> [role] [subcommand]`: options, the start, the words on the screen, signals. */
import { request } from 'node:http';
import { request as secureRequest } from 'node:https';
import { HEAD_BYTES_MAX, tlsFiles } from '../http/config.ts';
import { type Endpoint, parseEndpoint } from '../http/endpoint.ts';
import { checkCertificates } from '../http/renewal.ts';
import { helpText, nearest, printConfig, setEnvironment } from '../kernel/config.ts';
import { errors, exitCodes, explain } from '../kernel/errors.ts';
import { type HeldSignal, HeldSignals } from '../kernel/signals.ts';
import { type Configured, configure, rolesIn, setsOf } from './configured.ts';
import type { AnyService } from './contract.ts';
import { effectiveTexts } from './effective.ts';
import { pathProblems } from './paths.ts';
import { ServiceProcess } from './process.ts';
import { addressesOf, type NamedRole } from './seat.ts';
import type { FrameValues } from './values.ts';

/**
 * One Ctrl-C under npm, or the TERM of `timeout`, arrives twice: from the sender and from whoever passes it on. That is
 * one wish.
 */
const ECHO_MS = 100;

const switches = ['check-config', 'print-config', 'help', 'healthcheck'] as const;

/** What the words behind the service's name ask for. */
interface Asked {
  readonly roles: readonly string[];
  readonly subcommand: string | undefined;
  readonly rest: readonly string[];
}

/** Takes role and subcommand off the words; throws USAGE with the nearest name for a word that is neither. */
function asked(service: AnyService, argv: readonly string[]): Asked {
  const words = [...argv];
  let roles = service.together ?? Object.keys(service.roles);
  const role = words[0];
  if (role === 'all') words.shift();
  else if (role !== undefined && Object.hasOwn(service.roles, role)) {
    roles = [role];
    words.shift();
  }
  const word = words[0];
  if (word === undefined || word.startsWith('-')) return { roles, subcommand: undefined, rest: words };
  const commands = Object.keys(service.commands ?? {});
  if (commands.includes(word)) return { roles, subcommand: word, rest: words.slice(1) };
  const roleNames = Object.keys(service.roles);
  if (roleNames.length === 1 && commands.length === 0)
    throw errors.USAGE({ reason: `options begin with --: found=${words.join(' ')}` });
  const known = [...roleNames, ...commands];
  const near = nearest(word, known);
  throw errors.USAGE({
    reason:
      `the word behind ${service.name} must be one of ${known.join(', ')}, or an option: found=${word}` +
      (near === undefined ? '' : `, did you mean ${near}?`),
  });
}

/** `signals`: what has come since the process began, for the service to act on. */
export async function runService(service: AnyService, argv: readonly string[], signals?: HeldSignals): Promise<number> {
  const { roles, subcommand, rest } = asked(service, argv);
  const runs = subcommand === undefined && !switches.some((name) => rest.includes(`--${name}`));
  if (!runs) signals?.release();
  if (subcommand !== undefined) return runSubcommand(service, subcommand, rest);
  if (rest.includes('--help')) {
    process.stdout.write(`${usage(service)}\n${helpText(setsOf(service, roles))}\n`);
    return exitCodes.ok;
  }
  const configured = configure(service, roles, { argv: rest, switches });
  const { loaded, sets } = configured;
  if (loaded.words.length > 0) throw errors.USAGE({ reason: `options begin with --: found=${loaded.words.join(' ')}` });
  if (loaded.switches.has('print-config'))
    process.stdout.write(`${printConfig(sets, loaded, effectiveTexts(configured.values))}\n`);
  if (loaded.switches.has('check-config')) {
    await checkWhole(configured);
    process.stdout.write('the configuration is valid\n');
  }
  if (loaded.switches.has('print-config') || loaded.switches.has('check-config')) return exitCodes.ok;
  if (loaded.switches.has('healthcheck')) return healthcheck(configured);
  return run(configured, signals ?? new HeldSignals());
}

/** What the start would refuse for what is on this machine: paths, certificates, databases. Throws errors.CONFIG. */
async function checkWhole(configured: Configured): Promise<void> {
  const { values } = configured;
  const problems = [...pathProblems(configured)];
  for (const role of rolesIn(configured)) {
    problems.push(...(role.problems?.(values, configured.roles) ?? []));
    for await (const { severity, text } of role.examine?.(values) ?? []) if (severity === 'error') problems.push(text);
  }
  const tls = tlsFiles(values.http);
  try {
    if (tls !== undefined) checkCertificates(tls);
  } catch (error) {
    problems.push(...explain(error));
  }
  if (problems.length > 0) throw errors.CONFIG({ problems });
}

function usage(service: AnyService): string {
  const roles = Object.entries(service.roles);
  const role = roles.length > 1 ? ' [role]' : '';
  const lines = [`ringmain ${service.name}${role} [--option=value ...]   ${service.summary}`];
  if (roles.length > 1)
    lines.push('', ...roles.map(([name, { summary }]) => `ringmain ${service.name} ${name}   ${summary}`));
  for (const [name, { summary }] of Object.entries(service.commands ?? {}))
    lines.push(`ringmain ${service.name} ${name} ...   ${summary}`);
  return `${lines.join('\n')}\n${switchHelp}`;
}

const switchHelp = `
without starting anything:
    --check-config
        Says what is wrong with the configuration; 0 when nothing is.
    --print-config
        Shows the values in force and where each comes from; secrets are masked.
    --healthcheck
        Asks /healthz of the configured address; 0 when it answers. For containers.
`;

async function runSubcommand(service: AnyService, name: string, argv: readonly string[]): Promise<number> {
  const command = service.commands![name]!;
  if ('tool' in command) return command.tool(service, argv);
  if (argv.includes('--help')) {
    process.stdout.write(`${command.help}\n`);
    return exitCodes.ok;
  }
  const { values, loaded } = configure(service, Object.keys(service.roles), { argv });
  return command.run(values as never, loaded.words);
}

async function run(configured: Configured, signals: HeldSignals): Promise<number> {
  const { values, loaded } = configured;
  // The addon reads it once, when the first acceptor loads it.
  setEnvironment('UWS_HTTP_MAX_HEADERS_SIZE', String(HEAD_BYTES_MAX));
  const service = new ServiceProcess(configured);
  for (const warning of loaded.warnings) service.log.warn(warning);
  // Before the start: a signal that comes while the log is opened must not kill the process half-way.
  let started = false;
  let wanted = false;
  let told = Number.NEGATIVE_INFINITY;
  const end = (signal: HeldSignal) => {
    if (performance.now() - told < ECHO_MS) return;
    told = performance.now();
    if (started) void service.drain(signal);
    else if (wanted) {
      // Whoever asks twice does not want to wait for a start that hangs. What is on disk is complete at any moment.
      signals.release();
      process.kill(process.pid, signal);
    }
    wanted = true;
  };
  signals.passTo((signal) => {
    if (signal !== 'SIGHUP') end(signal);
    else if (started) service.reload();
  });
  try {
    await service.start();
  } catch (error) {
    await service.abort();
    throw error;
  }
  started = true;
  if (wanted) void service.drain();
  const roles = rolesIn(configured);
  const addresses = addressesOf(roles, values);
  service.log.info(
    {
      listen: addresses.join(','),
      acceptors: service.acceptors,
      outputs: values.sinks.outputs,
      journal: values.engine.journalDir,
      ...Object.assign({}, ...roles.map((role) => role.ready?.(values))),
    },
    'ready',
  );
  const words = roles.flatMap((role) => role.welcome?.(values, urlOf(role, values)) ?? []);
  if (words.length > 0 && service.readable) process.stderr.write(`${words.join('\n')}\n`);
  if (values.service.testMode) testFrom(service, roles, values);
  return service.ended;
}

/** TEST_MODE. A role that takes no events has no samples, and nothing to tell of them. */
function testFrom(service: ServiceProcess, roles: readonly NamedRole[], values: FrameValues): void {
  const taking = roles.flatMap((role) => {
    const samples = role.samples?.(values) ?? [];
    return samples.length === 0 ? [] : [{ samples, url: urlOf(role, values) }];
  });
  for (const { samples, url } of taking) void service.test(samples, url);
  if (taking.length === 0) service.log.warn('TEST_MODE: no role of this process takes events');
}

function urlOf(role: NamedRole, values: FrameValues): string {
  const at = parseEndpoint(role.address?.(values) ?? values.http.serverAddr) as Endpoint;
  return localUrl(tlsFiles(values.http) !== undefined, at);
}

function localUrl(tls: boolean, { host, port }: Endpoint): string {
  const any = host === '' || host === '0.0.0.0' || host === '::';
  const name = any ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `${tls ? 'https' : 'http'}://${name}:${port}`;
}

const HEALTH_MS = 3000;

/** `--healthcheck`: asks /healthz of the address that the same environment makes the service listen on. */
export async function healthcheck(configured: Configured): Promise<number> {
  const { http } = configured.values;
  const admin = http.adminAddr !== '';
  const tls = !admin && tlsFiles(http) !== undefined;
  const [own] = addressesOf(rolesIn(configured), configured.values);
  const { port, host } = parseEndpoint(admin ? http.adminAddr : own!) as Endpoint;
  const hostname = host === '' || host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const options = { hostname, port, path: '/healthz', timeout: HEALTH_MS, rejectUnauthorized: false };
  return new Promise((settle) => {
    const asked = (tls ? secureRequest : request)(options, (res) => {
      res.resume();
      settle(res.statusCode === 200 ? exitCodes.ok : exitCodes.failed);
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${HEALTH_MS} ms`)));
    asked.on('error', (error) => {
      process.stderr.write(`healthcheck: ${error.message}\n`);
      settle(exitCodes.failed);
    });
    asked.end();
  });
}
