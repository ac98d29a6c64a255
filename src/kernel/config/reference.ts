/**
 * Reference: everything an operator reads about the options, made from the declarations: the tables of
 * deploy/CONFIGURATION.md, the example env file, --help and --print-config. A test compares the committed files with
 * this output, so they stay true.
 */
import { markdownTable, partIsStale, renewPart } from '../markdown.ts';
import { formatEnvValue } from './envfile.ts';
import type { Loaded } from './load.ts';
import { type ConfigSet, type Declared, declaredIn, flagName, withFiles } from './set.ts';

/** Name of the generated section of the page, which lies between <!-- config:begin --> and <!-- config:end -->. */
const PART = 'config';

/** Printed instead of a secret. */
const MASK = '***';

function defaultText({ option }: Declared): string {
  if (option.default === undefined) return option.unset ?? '';
  return option.format(option.default as NonNullable<unknown>);
}

function byRoom(sets: readonly ConfigSet[]): ReadonlyMap<string, readonly Declared[]> {
  return Map.groupBy(declaredIn(sets), ({ room }) => room);
}

/** One table per room, in Markdown. */
export function markdownReference(sets: readonly ConfigSet[]): string {
  const sections = [...byRoom(sets)].map(([room, items]) => {
    const rows = items.map((item) => {
      const also = withFiles(item.names, item.option).slice(1);
      const names = `\`${item.name}\`${also.length > 0 ? `<br>also \`${also.join('`, `')}\`` : ''}`;
      const initial = defaultText(item);
      const shown = item.option.default === undefined || initial === '' ? initial : `\`${initial}\``;
      return [names, `\`${item.paths.join('`<br>also `')}\``, shown, item.option.must, item.option.doc];
    });
    return `### ${room}\n\n${markdownTable(['Option', 'In a YAML file', 'Default', 'Must be', 'Meaning'], rows)}`;
  });
  return sections.join('\n\n');
}

/** Returns the document with a new reference between its markers. Throws a TypeError for a document without markers. */
export function renewReference(document: string, sets: readonly ConfigSet[]): string {
  return renewPart(document, PART, markdownReference(sets));
}

/** Whether the reference in the document differs from the declarations. */
export function referenceIsStale(document: string, sets: readonly ConfigSet[]): boolean {
  return partIsStale(document, PART, markdownReference(sets));
}

/** The example env file: every option, commented out, at its default. */
export function envExample(sets: readonly ConfigSet[]): string {
  const head =
    '# Every option with its default. Copy this file, uncomment what you change, and start with --env-file.\n';
  const sections = [...byRoom(sets)].map(([room, items]) => {
    const lines = items.map((item) => {
      const value = item.option.default === undefined ? '' : formatEnvValue(defaultText(item));
      const unset = item.option.default === undefined && item.option.unset ? ` Not set: ${item.option.unset}.` : '';
      const doc = wrap(`${item.option.doc} Must be ${item.option.must}.${unset}`, 96).map((line) => `# ${line}`);
      return [...doc, `#${item.name}=${value}`].join('\n');
    });
    return [`# ---- ${room} ----`, ...lines].join('\n\n');
  });
  return `${head}\n${sections.join('\n\n')}\n`;
}

const fileHelp = `files:
    --config=FILE
        YAML file of options, with the paths shown after the names below. Flags, the environment
        and the env file take precedence.
    --env-file=FILE
        File of NAME=value lines. Flags and the environment take precedence.`;

/** The options as --help shows them. */
export function helpText(sets: readonly ConfigSet[]): string {
  const sections = [...byRoom(sets)].map(([room, items]) => {
    const lines = items.map((item) => {
      const initial = defaultText(item);
      const facts = `Must be ${item.option.must}.${initial === '' ? '' : ` Default: ${initial}.`}`;
      const body = wrap(`${item.option.doc} ${facts}`, 92).map((line) => `        ${line}`);
      return [`    ${flagName(item.name)}  (${item.names.join(', ')}; ${item.paths.join(', ')})`, ...body].join('\n');
    });
    return [`${room}:`, ...lines].join('\n');
  });
  return `${[fileHelp, ...sections].join('\n\n')}\n`;
}

/**
 * The values in force as an env file, each with its source; secrets are masked. `effective`: what options come to on
 * this machine that are not set and have no fixed default, by name.
 */
export function printConfig(
  sets: readonly ConfigSet[],
  loaded: Pick<Loaded, 'sources'> & { values: object },
  effective: Readonly<Record<string, string>> = {},
): string {
  const values = loaded.values as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  const lines = declaredIn(sets).map((item) => {
    const value = values[item.room]?.[item.key];
    const from = loaded.sources.get(item.name) ?? 'default';
    if (value === undefined || value === null) {
      const here = effective[item.name];
      return here === undefined
        ? `#${item.name}=  # ${from}`
        : `#${item.name}=${formatEnvValue(here)}  # ${from}: ${item.option.unset}`;
    }
    const shown = item.option.secret && value !== '' ? MASK : item.option.format(value);
    return `${item.name}=${formatEnvValue(shown)}  # ${from}`;
  });
  return `${lines.join('\n')}\n`;
}

function wrap(words: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of words.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return line === '' ? lines : [...lines, line];
}
