// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are source code
/**
 * Mutants of the Postgres sink: each breaks one promise on purpose, and a test must go red.
 *
 *   node test/sinks/postgres/mutants.ts [word]     all, or those whose name holds the word; exit 1 when one survives
 *
 * Works on a copy of the tree: nothing here is changed.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  readonly test: 'deliver' | 'faults' | 'encode';
}

const cursor = 'src/sinks/postgres/cursor.ts';
const sink = 'src/sinks/postgres/sink.ts';
const transaction = 'src/sinks/postgres/transaction.ts';
const mutants: readonly Mutant[] = [
  {
    name: 'the cursor moves from wherever it stands',
    file: cursor,
    from: 'AND epoch = $7 AND position = $8`',
    to: 'AND epoch = $7 AND $8::bigint IS NOT NULL`',
    test: 'deliver',
  },
  {
    name: 'the cursor moves whoever has claimed it',
    file: cursor,
    from: 'AND epoch = $7 AND position = $8`',
    to: 'AND $7::bigint IS NOT NULL AND position = $8`',
    test: 'deliver',
  },
  {
    name: 'rows are committed before the cursor',
    file: transaction,
    from: 'if (!(await this.#cursors.move(',
    to: "await link.query('COMMIT; BEGIN');\n        if (!(await this.#cursors.move(",
    test: 'deliver',
  },
  {
    name: 'a batch does not wait for the one before',
    file: transaction,
    from: 'if (await this.#mustGiveWay(link, before)) {',
    to: 'if (before === undefined) {',
    test: 'deliver',
  },
  {
    name: 'a batch that blocks the one before does not give way',
    file: transaction,
    from: 'if (rows[0]!.blocking) return true;',
    to: 'if (rows[0]!.blocking && batchIsAlone) return true;',
    test: 'deliver',
  },
  {
    name: 'duplicates are not sorted out',
    file: sink,
    from: 'ON CONFLICT (${conflict}) DO NOTHING`',
    to: '`',
    test: 'deliver',
  },
  {
    name: 'a lost answer to COMMIT is forgotten',
    file: cursor,
    from: 'else doubtful.add(to.position);\n    return true;',
    to: 'else doubtful.add(to.position);\n    this.#doubtful.clear();\n    return true;',
    test: 'faults',
  },
  {
    name: 'a new session does not look at the cursors',
    file: cursor,
    from: 'if (moved.length > 0) throw',
    to: 'if (moved.length > 1e9) throw',
    test: 'faults',
  },
  {
    name: 'a vanished client keeps its rows',
    file: transaction,
    from: '; ${idle}`',
    to: '`',
    test: 'faults',
  },
  {
    name: 'a statement may run for ever',
    file: transaction,
    from: 'SET LOCAL statement_timeout = ${timeout};',
    to: '',
    test: 'faults',
  },
  {
    name: 'a buffer is used again while the socket has it',
    file: 'src/sinks/postgres/encode.ts',
    from: '    this.#allocate(0);',
    to: '',
    test: 'encode',
  },
];

const word = process.argv[2] ?? '';
const root = join(import.meta.dirname, '..', '..', '..');
let survivors = 0;
for (const mutant of mutants.filter(({ name }) => name.includes(word))) {
  const copy = mkdtempSync(join(tmpdir(), 'ringmain-mutant-'));
  try {
    for (const part of ['src', 'test', 'package.json', 'vitest.config.ts'])
      cpSync(join(root, part), join(copy, part), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const path = join(copy, mutant.file);
    const source = readFileSync(path, 'utf8');
    if (source.split(mutant.from).length !== 2) throw new Error(`the place must be there once: ${mutant.name}`);
    writeFileSync(
      path,
      source.replace(mutant.from, () => mutant.to.replace('batchIsAlone', 'false')),
    );
    const args = [
      'node_modules/vitest/vitest.mjs',
      'run',
      '--test-timeout=90000',
      `test/sinks/postgres/${mutant.test}.test.ts`,
    ];
    const run = spawnSync(process.execPath, args, { cwd: copy, encoding: 'utf8', timeout: 180_000 });
    const red = run.status !== 0;
    if (!red) survivors += 1;
    const names = [...run.stdout.matchAll(/^ {4}not ok \d+ - (.*)$/gm)].map(([, name]) => name);
    console.log(`${red ? 'red ' : 'SURVIVED'} ${mutant.name}${red ? `: ${names[0] ?? 'the run ended'}` : ''}`);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
process.exitCode = survivors === 0 ? 0 : 1;
