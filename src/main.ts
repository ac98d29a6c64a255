#!/usr/bin/env node
/**
 * The command line. It wires the rooms together and is imported by nobody.
 *
 *   ringmain pixel [--option=value ...]   run the collector
 *   ringmain journal <command> ...        look into a log, send parts of it again
 *   ringmain deadletter <command> ...     look at refused events, send them again
 *   ringmain --healthcheck                for containers: exit 0 when /healthz answers
 *
 * Each command has --help. Exit codes: 0 done, 64 the command line is not understood, 70 a defect or a thread that cannot be
 * replaced, 78 the configuration or the journal cannot be used.
 */
import { errors, exitCodeOf, exitCodes, explain } from './kernel/errors.ts';
import { readVersion } from './kernel/version.ts';

const USAGE = `ringmain pixel [--option=value ...]   run the collector
ringmain journal <command> ...        look into a log, send parts of it again
ringmain deadletter <command> ...     look at refused events, send them again
ringmain --healthcheck                exit 0 when /healthz of the configured address answers
ringmain --version

Each command has --help.
`;

// A command's code is loaded when it is used: the tools need no HTTP server, the collector needs no tools.
async function main(argv: readonly string[]): Promise<number> {
  const [command, ...rest] = argv;
  switch (command) {
    case 'pixel':
      return (await import('./service/command.ts')).runPixel(rest);
    case 'journal':
      return (await import('./service/journal-command.ts')).runJournal(rest);
    case 'deadletter':
      return (await import('./service/dead-letter-command.ts')).runDeadLetter(rest);
    case '--healthcheck':
      return (await import('./service/command.ts')).healthcheck(rest);
    case '--version': {
      const { version, commit } = readVersion();
      process.stdout.write(`ringmain ${version} (${commit})\n`);
      return exitCodes.ok;
    }
    case '--help':
    case undefined:
      process.stdout.write(USAGE);
      return command === undefined ? exitCodes.usage : exitCodes.ok;
    default:
      throw errors.USAGE({ reason: `the first word must be a command: found=${command}\n\n${USAGE}` });
  }
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  for (const line of explain(error)) process.stderr.write(`${line}\n`);
  process.exit(exitCodeOf(error));
}
