/** Tool `ringmain migrate <service> up | down [N] | status`: changes and shows the schema of a service. */
import { errors, exitCodes } from '../kernel/errors.ts';
import { describeFault, SetupError } from '../store/postgres/fault.ts';
import {
  assertMigrated,
  type MigrateOptions,
  type MigrationStatus,
  migrateDown,
  migrateUp,
  migrationStatus,
} from '../store/postgres/migrate.ts';
import { configure } from './configured.ts';
import type { AnyService, Migrations } from './contract.ts';

/** What of a service the tool reads. */
export interface Migrated<V> {
  readonly name: string;
  readonly migrations?: Migrations<V>;
}

/** `status` found versions that are missing or that do not fit. */
const EXIT_NOT_MIGRATED = 1;

export const migrateHelp = (service: string): string => `ringmain migrate ${service} up | down [N] | status

  up        applies the migrations that are missing, oldest first; several processes may call it at once
  down [N]  takes the newest N versions back (default 1)
  status    lists every version; exit code ${EXIT_NOT_MIGRATED} unless all are applied as they are

The database must be reached directly or through a pooler in session mode.
`;

/** The tool as the command line calls it: reads the options of the service, which may stand among the words. */
export async function runMigrateTool(service: AnyService, argv: readonly string[]): Promise<number> {
  const write = (text: string): void => void process.stdout.write(text);
  if (argv.includes('--help')) {
    write(migrateHelp(service.name));
    return exitCodes.ok;
  }
  const { values, loaded } = configure(service, Object.keys(service.roles), { argv });
  return runMigrate(service, values, loaded.words, write);
}

/** Runs the tool. Returns the exit code; `write` takes the text for people. */
export async function runMigrate<V>(
  service: Migrated<V>,
  values: V,
  words: readonly string[],
  write: (text: string) => void,
): Promise<number> {
  const [action, count, ...rest] = words;
  const steps = count === undefined ? 1 : Number(count);
  const known = action === 'up' || action === 'down' || action === 'status';
  const fits = known && rest.length === 0 && (count === undefined || action === 'down');
  if (!fits || !Number.isInteger(steps) || steps < 1) {
    throw errors.USAGE({
      reason: `migrate ${service.name} takes up, down [N] or status: found=${words.join(' ') || 'nothing'}`,
    });
  }
  const options = optionsOf(service, values, (line) => write(`${line}\n`));
  if (options === undefined) {
    write(`${service.name} has no migrations, or no database now\n`);
    return exitCodes.config;
  }
  try {
    if (action === 'status') {
      const status = await migrationStatus(options);
      write(statusText(status));
      return status.every(({ state }) => state === 'applied' || state === 'unknown') ? exitCodes.ok : EXIT_NOT_MIGRATED;
    }
    const done = action === 'up' ? await migrateUp(options) : await migrateDown(options, steps);
    if (done.length === 0) write(action === 'up' ? 'nothing to apply\n' : 'nothing to take back\n');
    return exitCodes.ok;
  } catch (error) {
    write(`${error instanceof SetupError ? error.message : describeFault(error)}\n`);
    return exitCodes.internal;
  }
}

/**
 * Called before the threads of a process start: applies what is missing when the service wants that (`atStart`), else
 * throws unless everything is applied.
 */
export async function migrateAtStart<V>(service: Migrated<V>, values: V, tell: (line: string) => void): Promise<void> {
  const options = optionsOf(service, values, tell);
  if (options === undefined) return;
  if (service.migrations?.atStart?.(values)) await migrateUp(options);
  const status = await assertMigrated(options);
  const unknown = status.filter(({ state }) => state === 'unknown').map(({ name }) => name);
  if (unknown.length > 0) tell(`the database has versions that this build does not know: ${unknown.join(', ')}`);
}

function optionsOf<V>(service: Migrated<V>, values: V, tell: (line: string) => void): MigrateOptions | undefined {
  const dsn = service.migrations?.dsn(values);
  if (service.migrations === undefined || dsn === undefined) return undefined;
  return { dsn, service: service.name, folder: service.migrations.folder, tell };
}

function statusText(status: readonly MigrationStatus[]): string {
  if (status.length === 0) return 'no migrations\n';
  const width = Math.max(...status.map(({ name }) => name.length));
  return status
    .map(({ name, state, appliedAt }) => `${name.padEnd(width)}  ${state.padEnd(9)}${appliedAt?.toISOString() ?? ''}`)
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}
