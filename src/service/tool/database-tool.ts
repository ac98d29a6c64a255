/**
 * Database tools: what those have in common that work on a service's database alone, beside running processes or
 * without any (`ringmain site`, `ringmain analytics user`, `ringmain gateway user`).
 */
import { errors, exitCodes } from '../../kernel/errors.ts';
import type { LinkOptions, PostgresLink } from '../../store/postgres/connection.ts';
import { type Configured, configure } from '../configured.ts';
import type { AnyService } from '../contract.ts';
import type { FrameValues } from '../values.ts';
import { withFaults } from './fault.ts';
import { onDatabase } from './on-database.ts';
import type { ToolInput } from './secret.ts';
import { askedOf, optionsOf, type Subcommand, type ToolHelp } from './subcommand.ts';

export interface DatabaseCommand extends Subcommand {
  /** How many words it takes: [at least, at most]. */
  readonly words: readonly [number, number];
  run(tool: DatabaseTool): Promise<number>;
}

interface AskedFor {
  readonly command: string;
  readonly about: DatabaseCommand;
  readonly rest: readonly string[];
}

/** Exit codes of a command that changes or reads the database: what 0 means, and 1 where it is not the usual refusal. */
export const exits = (
  ok: string,
  failed = 'refused: no such one, a name that is taken, or the like',
): Readonly<Record<number, string>> => ({
  [exitCodes.ok]: ok,
  [exitCodes.failed]: failed,
  [exitCodes.temporary]: 'the database is down or busy; run it again later',
});

export class DatabaseTool {
  readonly words: readonly string[];
  /** Where a password comes from. */
  readonly input: ToolInput;
  readonly #configured: Configured;
  readonly #service: AnyService;
  readonly #name: string;

  /** Reads options, flags and words. Throws USAGE or CONFIG. */
  constructor(service: AnyService, name: string, asked: AskedFor, input: ToolInput) {
    const { command, about, rest } = asked;
    const flags = Object.entries(about.flags ?? {});
    const [least, most] = about.words;
    this.#configured = configure(service, Object.keys(service.roles), {
      argv: rest,
      ownFlags: flags.filter(([, { value }]) => value !== '').map(([flag]) => flag),
      switches: flags.filter(([, { value }]) => value === '').map(([flag]) => flag),
      judge: (words) =>
        words.length >= least && words.length <= most
          ? undefined
          : `${name} ${command} takes ${about.takes || 'no word'}: found=${words.join(' ') || 'none'}`,
    });
    this.#service = service;
    this.#name = name;
    this.input = input;
    this.words = this.#configured.loaded.words;
  }

  flag(name: string): string | undefined {
    return this.#configured.loaded.own.get(name);
  }

  has(name: string): boolean {
    return this.#configured.loaded.switches.has(name);
  }

  /** The values of the service's options. */
  get values(): FrameValues {
    return this.#configured.values;
  }

  get pepper(): string {
    const { access } = this.#configured.values as unknown as { readonly access?: { readonly keyPepper?: string } };
    if (access?.keyPepper !== undefined) return access.keyPepper;
    throw errors.CONFIG({
      problems: [
        'KEY_PEPPER (or KEY_PEPPER_FILE) must be set before keys are made, to the same value as for the services; ' +
          'make one with: openssl rand -hex 32',
      ],
    });
  }

  /**
   * Runs `work` on a connection of its own; `options`: other limits than openLink() has. What the database refuses
   * becomes one line.
   */
  onDatabase<T>(work: (link: PostgresLink) => Promise<T>, options: Partial<LinkOptions> = {}): Promise<T> {
    return onDatabase(this.#service, this.#configured, { applicationName: this.#name, ...options }, work);
  }
}

/** Runs a tool: `argv` names one of its commands. `input`: where passwords come from. */
export async function runDatabaseTool(
  service: AnyService,
  tool: Omit<ToolHelp, 'commands' | 'options'> & { readonly commands: Readonly<Record<string, DatabaseCommand>> },
  argv: readonly string[],
  input: ToolInput = process.stdin,
): Promise<number> {
  const asked = askedOf({ ...tool, options: optionsOf(service.name) }, argv);
  if ('ends' in asked) return asked.ends;
  const about = tool.commands[asked.command]!;
  const run = new DatabaseTool(service, tool.name, { ...asked, about }, input);
  return withFaults(() => about.run(run));
}

/** A tool that is one command: `name` (`ringmain sms`) and the `word` behind it (`seed`). */
export const singleCommand =
  (name: string, word: string, command: DatabaseCommand) =>
  (service: AnyService, argv: readonly string[]): Promise<number> =>
    runDatabaseTool(service, { name, about: '', commands: { [word]: command } }, [word, ...argv]);
