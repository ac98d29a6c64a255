#!/usr/bin/env node
/**
 * The command line. It wires the rooms together and is imported by nobody: two tables, services and tools.
 *
 *   ringmain <service> [role] [--option=value ...]   run a service, or one role of it
 *   ringmain <service> <subcommand> ...              a tool of the service
 *   ringmain <tool> ...                              look into a log, send again what was refused, change a database
 *   ringmain --healthcheck                           for containers: exit 0 when /healthz of the service in it answers
 *   ringmain help [command]   ringmain version       also -h, --help, -v, --version
 *
 * Each command has --help, each command of a tool as well. Exit codes are those of kernel/errors.ts.
 */
import { constants } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { nearest } from './kernel/config.ts';
import { errors, exitCodeOf, exitCodes, explain } from './kernel/errors.ts';
import { HeldSignals } from './kernel/signals.ts';
import { readVersion } from './kernel/version.ts';
import type { AnyService } from './service/contract.ts';
import { commandAt } from './service/tool/subcommand.ts';

/** A service's code is loaded when it is used: the tools need no HTTP server, one service none of the others. */
const services: Readonly<Record<string, () => Promise<{ readonly default: AnyService }>>> = {
  pixel: () => import('./pixel/pixel.ts'),
  analytics: () => import('./analytics/analytics.ts'),
  gateway: () => import('./gateway/gateway.ts'),
  sms: () => import('./sms/sms.ts'),
};

/** A tool works on the data of one service: --service=NAME, or the first word behind it. */
interface Tool {
  readonly summary: string;
  /** The call for a service, where the tool works on any. */
  readonly of?: (service: string) => string;
  run(words: readonly string[]): Promise<number>;
}

const tools: Readonly<Record<string, Tool>> = {
  journal: {
    summary: 'inspect a journal, resend parts of it',
    of: (service) => `ringmain journal <command> --service=${service}`,
    run: async (words) => {
      const { service, rest } = await ofService(words);
      return (await import('./service/journal/journal-command.ts')).runJournal(service, rest);
    },
  },
  deadletter: {
    summary: 'inspect rejected events, replay them',
    of: (service) => `ringmain deadletter <command> --service=${service}`,
    run: async (words) => {
      const { service, rest } = await ofService(words);
      return (await import('./service/dead-letter-command.ts')).runDeadLetter(service, rest);
    },
  },
  doctor: {
    summary: 'check a configuration end to end: what is wrong, how to fix it',
    of: (service) => `ringmain doctor --service=${service}`,
    run: async (words) => {
      const { service, rest } = await ofService(words);
      return (await import('./service/doctor/doctor-command.ts')).runDoctor(service, rest);
    },
  },
  migrate: {
    summary: 'migrate the schema of a service, or show its state',
    of: (service) => `ringmain migrate ${service} <command>`,
    run: async (words) => {
      const { answerWithoutService, runMigrateTool } = await import('./service/migrate.ts');
      const ended = answerWithoutService(words, Object.keys(services));
      if (ended !== undefined) return ended;
      const at = commandAt(words, Object.keys(services));
      return runMigrateTool(await load(words[at]!), words.toSpliced(at, 1));
    },
  },
  site: {
    summary: 'register the sites of analytics, make and revoke their keys',
    run: async (words) => (await import('./analytics/access/site-command.ts')).runSite(await load('analytics'), words),
  },
  import: {
    summary: 'import access logs and exports of other tools into a site of analytics',
    run: async (words) =>
      (await import('./analytics/import/import-command.ts')).runImport(await load('analytics'), words),
  },
};

async function load(name: string): Promise<AnyService> {
  const found = Object.hasOwn(services, name) ? services[name] : undefined;
  if (found !== undefined) return (await found()).default;
  const names = Object.keys(services);
  const near = nearest(name, names);
  const meant = near === undefined ? '' : `, did you mean ${near}?`;
  throw errors.USAGE({ reason: `a service must be one of ${names.join(', ')}: found=${name}${meant}` });
}

/** The service of --service=NAME; the collector without it. */
async function ofService(words: readonly string[]): Promise<{ service: AnyService; rest: readonly string[] }> {
  const at = words.findIndex((word) => word === '--service' || word.startsWith('--service='));
  if (at < 0) return { service: await load('pixel'), rest: words };
  const [flag, next] = words.slice(at);
  const spaced = flag === '--service';
  const name = spaced ? next : flag!.slice('--service='.length);
  if (name === undefined || name === '') throw errors.USAGE({ reason: '--service requires a value' });
  return { service: await load(name), rest: words.toSpliced(at, spaced ? 2 : 1) };
}

/** What stands behind a tool that has no commands. */
const toolWords: Readonly<Record<string, string>> = { doctor: '', import: '--site=ID --format=FORMAT FILE' };

async function usageRow(name: string): Promise<readonly [string, string]> {
  const { roles, summary } = await load(name);
  return [`ringmain ${name}${Object.keys(roles).length > 1 ? ' [role]' : ''} [--option=value ...]`, summary];
}

async function usage(): Promise<string> {
  const rows: (readonly [string, string])[] = [];
  for (const name of Object.keys(services)) rows.push(await usageRow(name));
  for (const [name, { summary }] of Object.entries(tools))
    rows.push([`ringmain ${name} ${toolWords[name] ?? '<command> '}...`, summary]);
  rows.push(
    ['ringmain --healthcheck', 'for containers: exits with 0 if /healthz of the service in this one answers'],
    ['ringmain help [command]', 'same as --help after the command'],
    ['ringmain version', 'prints version and commit of this build'],
  );
  const width = Math.max(...rows.map(([command]) => command.length)) + 3;
  const lines = rows.map(([command, summary]) => `${command.padEnd(width)}${summary}`.trimEnd());
  return `${lines.join('\n')}\n\nEach command has --help.\n`;
}

const commandNames: readonly string[] = [...Object.keys(services), ...Object.keys(tools), 'help', 'version'];
const switchNames: readonly string[] = ['--help', '--version', '-v', '--healthcheck'];

/** The command first: files of options may stand before it, as in `--env-file=FILE journal ls`. */
function commandFirst(argv: readonly string[]): readonly string[] {
  if (!/^--(env-file|config)(=|$)/.test(argv[0] ?? '')) return argv;
  const at = commandAt(argv, [...commandNames, ...switchNames]);
  return at < 0 ? [] : [argv[at]!, ...argv.toSpliced(at, 1)];
}

async function main(argv: readonly string[]): Promise<number> {
  const [command, ...rest] = commandFirst(argv);
  switch (command) {
    case '--healthcheck': {
      const { runService } = await import('./service/command.ts');
      const { containedCommand } = await import('./service/contained.ts');
      const [service, ...words] = containedCommand(Object.keys(services)) ?? ['pixel'];
      return runService(await load(service!), [...words, '--healthcheck', ...rest]);
    }
    case 'version':
    case '-v':
    case '--version': {
      const { version, commit } = readVersion();
      process.stdout.write(`ringmain ${version} (${commit})\n`);
      return exitCodes.ok;
    }
    case 'help': {
      // Options change no help: those that an installation adds to every call are left out.
      const at = commandAt(rest, commandNames);
      if (at >= 0) return main([...rest.slice(at), '--help']);
      process.stdout.write(await usage());
      return exitCodes.ok;
    }
    case '--help':
      process.stdout.write(await usage());
      return exitCodes.ok;
    case undefined:
      process.stderr.write(await usage());
      return exitCodes.usage;
    default: {
      if (Object.hasOwn(tools, command)) {
        process.stdout.on('error', endOfOutput);
        return tools[command]!.run(rest);
      }
      if (Object.hasOwn(services, command)) {
        const signals = new HeldSignals();
        const { runService } = await import('./service/command.ts');
        const service = await load(command);
        const [word = ''] = rest;
        const call = Object.hasOwn(tools, word) ? tools[word]!.of?.(command) : undefined;
        if (call !== undefined) throw errors.USAGE({ reason: `${word} is no word behind ${command}: ${call}` });
        return runService(service, rest, signals);
      }
      const near = nearest(command, commandNames);
      const meant = near === undefined ? '' : `, did you mean ${near}?`;
      throw errors.USAGE({ reason: `the first word must be a command: found=${command}${meant}\n\n${await usage()}` });
    }
  }
}

/**
 * `ringmain journal cat | head`: the reader has enough. The exit code is that of a process that SIGPIPE ended. Standard
 * output that takes no more for another reason (`> events.ndjson` on a full disk) ends the tool with one line.
 */
function endOfOutput(error: NodeJS.ErrnoException): void {
  endOfPipe(error);
  process.stderr.write(`standard output takes no more: ${error.message}\n`);
  process.exit(error.code === 'ENOSPC' ? exitCodes.temporary : exitCodes.failed);
}

function endOfPipe(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(128 + constants.signals.SIGPIPE);
}

try {
  const code = await main(process.argv.slice(2).map((word) => (word === '-h' ? '--help' : word)));
  // A write that failed is told in the next turn.
  await turn();
  process.exit(code);
} catch (error) {
  endOfPipe(error);
  for (const line of explain(error)) process.stderr.write(`${line}\n`);
  process.exit(exitCodeOf(error));
}
