/** Tool `ringmain migrate <service> up | down [N] | status`: changes and shows the schema of a service. */
import { errors, exitCodes, RingmainError } from '../kernel/errors.ts';
import { reasonAt } from '../kernel/place.ts';
import { describeFault, isDenied, SetupError, faultOf as verdictOf } from '../store/postgres/fault.ts';
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
import { serviceErrors } from './errors.ts';
import { withFaults } from './tool/fault.ts';
import { Progress } from './tool/progress.ts';
import { askedOf, commandAt, optionsOf, type Subcommand, type ToolHelp, unknownCommand } from './tool/subcommand.ts';
import { placeOf } from './tool/target.ts';

/** What of a service the tool reads. */
export interface Migrated<V> {
  readonly name: string;
  readonly migrations?: Migrations<V>;
}

const away = { [exitCodes.temporary]: 'the database is down or busy; run it again later' };
const commands = {
  up: {
    takes: '',
    summary: 'applies missing migrations, oldest first',
    about: `Applies the migrations that are missing, oldest first. Several processes may run it at once: one applies,
the others wait. When a migration fails, the earlier ones stay applied; run it again once the cause is
fixed.`,
    exits: {
      [exitCodes.ok]: 'everything is applied',
      [exitCodes.failed]: 'a migration failed; its file and line are named',
      ...away,
    },
    example: 'ringmain migrate pixel up --env-file=/etc/ringmain/ringmain.env',
  },
  down: {
    takes: '[N]',
    summary: 'reverts the newest N versions (default 1)',
    about: 'Reverts the newest N versions, newest first. Data in the tables they drop is lost.',
    exits: { [exitCodes.ok]: 'reverted', [exitCodes.failed]: 'one has failed, or cannot be reverted', ...away },
    example: 'ringmain migrate pixel down 2',
  },
  status: {
    takes: '',
    summary: 'lists every version, and whether it is applied',
    about: 'Lists every version of this build and of the database, with the time it was applied. Changes nothing.',
    exits: {
      [exitCodes.ok]: 'all are applied, unchanged',
      [exitCodes.failed]: 'versions are missing, or were changed after they were applied',
      ...away,
    },
    example: 'ringmain migrate pixel status',
  },
} satisfies Record<string, Subcommand>;

/** The tool's help for a service; `<service>` when none is named. */
const toolFor = (service: string): ToolHelp & { readonly commands: typeof commands } => ({
  name: `ringmain migrate ${service}`,
  about:
    'Migrates the schema of a service, or shows its state. ' +
    'Connect to the database directly, or through a pooler in session mode.',
  commands,
  options: optionsOf(service),
});

/** Answers words that begin with no service: with help, or by USAGE. Undefined: a name comes first. */
export function answerWithoutService(words: readonly string[], services: readonly string[]): number | undefined {
  const first = words[commandAt(words, [...services, ...Object.keys(commands)])];
  const isCommand = first !== undefined && Object.hasOwn(commands, first);
  if (first !== undefined && !isCommand) return undefined;
  if (isCommand && !words.includes('--help'))
    throw errors.USAGE({
      reason: `the service comes first, one of ${services.join(', ')}: ringmain migrate ${services[0]} ${first}`,
    });
  const asked = askedOf(toolFor('<service>'), words);
  return 'ends' in asked ? asked.ends : exitCodes.usage;
}

/** The tool as the command line calls it: reads the options of the service, which may stand among the words. */
export async function runMigrateTool(service: AnyService, argv: readonly string[]): Promise<number> {
  const asked = askedOf(toolFor(service.name), argv);
  if ('ends' in asked) return asked.ends;
  const { values, loaded } = configure(service, Object.keys(service.roles), { argv: asked.rest });
  const progress = new Progress(`migrate ${service.name} ${asked.command}`, 0, 'seconds');
  const begin = performance.now();
  const looks = progress.shown ? setInterval(() => progress.at((performance.now() - begin) / 1000), 500) : undefined;
  const write = (text: string): void => {
    progress.clear();
    process.stdout.write(text);
  };
  try {
    return await withFaults(() => runMigrate(service, values, [asked.command, ...loaded.words], write));
  } finally {
    clearInterval(looks);
    progress.clear();
  }
}

/**
 * Runs the tool. Returns the exit code; `write` takes the text for people. Throws MIGRATION_FAILED, or DATABASE_AWAY
 * when the same may succeed later.
 */
export async function runMigrate<V>(
  service: Migrated<V>,
  values: V,
  words: readonly string[],
  write: (text: string) => void,
): Promise<number> {
  const [action, count, ...rest] = words;
  const tool = toolFor(service.name);
  if (action === undefined || !Object.hasOwn(commands, action)) throw unknownCommand(tool, action ?? 'none');
  const steps = count === undefined ? 1 : Number(count);
  const fits = rest.length === 0 && (count === undefined || action === 'down');
  if (!fits || !Number.isInteger(steps) || steps < 1) {
    const takes = action === 'down' ? 'a number of versions, 1 or more' : 'no other word';
    throw errors.USAGE({ reason: `${tool.name} ${action} takes ${takes}: found=${words.slice(1).join(' ')}` });
  }
  const options = databaseOf(service, values, (line) => write(`${line}\n`));
  if (options === undefined) {
    write(
      service.migrations === undefined
        ? `${service.name} has no migrations\n`
        : `${service.name} has no database: the option with its DSN is not set\n`,
    );
    return exitCodes.config;
  }
  try {
    if (action === 'status') {
      const status = await migrationStatus(options);
      write(statusText(status));
      return status.every(({ state }) => state === 'applied' || state === 'unknown') ? exitCodes.ok : exitCodes.failed;
    }
    const done = action === 'up' ? await migrateUp(options) : await migrateDown(options, steps);
    if (done.length === 0) write(action === 'up' ? 'nothing to apply\n' : 'nothing to take back\n');
    return exitCodes.ok;
  } catch (error) {
    throw told(error, options);
  }
}

/** One line for an operator: the same may succeed later, or something must be corrected. */
function told(error: unknown, { dsn }: Pick<MigrateOptions, 'dsn'>): RingmainError {
  if (error instanceof SetupError) return serviceErrors.MIGRATION_FAILED({ reason: error.message });
  const reason = reasonAt(describeFault(error), [placeOf({ kind: 'postgres', config: { pgDsn: dsn } })]);
  if (['network', 'moved', 'busy'].includes(verdictOf(error))) return serviceErrors.DATABASE_AWAY({ reason });
  return (isDenied(error) ? serviceErrors.DATABASE_DENIED : serviceErrors.MIGRATION_FAILED)({ reason });
}

/**
 * Called before the threads of a process start: applies what is missing when the service wants that (`atStart`), else
 * throws unless everything is applied. Throws DATABASE_AWAY when the same may succeed later, else CONFIG: a service
 * that is started again would only fail again.
 */
export async function migrateAtStart<V>(service: Migrated<V>, values: V, tell: (line: string) => void): Promise<void> {
  const options = databaseOf(service, values, tell);
  if (options === undefined) return;
  const atStart = service.migrations?.atStart?.(values) === true;
  const status = await (async () => {
    if (atStart) await migrateUp(options);
    return assertMigrated(options);
  })().catch((error: unknown) => {
    throw startFault(error, options.dsn);
  });
  const unknown = status.filter(({ state }) => state === 'unknown').map(({ name }) => name);
  if (unknown.length > 0) tell(`the database has versions that this build does not know: ${unknown.join(', ')}`);
}

/**
 * What a start ends with when its database has failed: DATABASE_AWAY when the same may succeed later, else CONFIG. What
 * is no fault of a database stays as it is.
 */
export function startFault(error: unknown, dsn: string | undefined): unknown {
  const ours = error instanceof RingmainError || error instanceof TypeError || error instanceof RangeError;
  if (ours || dsn === undefined) return error;
  const said = told(error, { dsn });
  return said.retry ? said : errors.CONFIG({ problems: [said.message] });
}

function databaseOf<V>(service: Migrated<V>, values: V, tell: (line: string) => void): MigrateOptions | undefined {
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
