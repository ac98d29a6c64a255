/**
 * A journal that is put back from a copy (a snapshot of its volume, a backup) is a branch of the log: it counts its lives from the copy
 * on, while the targets stand where the log went on without it. What is acknowledged on the branch must be delivered, and what was
 * delivered must not be sent to Postgres again.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, type TestContext, test } from 'vitest';
import { readIdentity } from '../../src/engine/journal.ts';
import { Collector } from '../servers/collector.ts';
import { type PostgresServer, startPostgres } from '../servers/postgres.ts';
import { fileScope } from '../servers/scope.ts';
import { sql } from '../sinks/postgres/fixture.ts';

const PORT = 22_700;
const file = fileScope();
let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres(file, { port: PORT });
});

const numbered = (from: number, to: number): object[] =>
  Array.from({ length: to - from }, (_, i) => ({ e: 'view', props: { n: from + i } }));
const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** A collector with a file and a table of its own. */
class Branches {
  readonly collector: Collector;
  readonly table: string;
  readonly journal: string;
  readonly #copy: string;

  constructor(t: TestContext, port: number, table: string) {
    const env = {
      OUTPUTS: 'log,postgres',
      LOG_PATH: 'events.ndjson',
      JOURNAL_DIR: 'journal',
      PG_DSN: server.dsn,
      PG_TABLE: table,
      PG_FLUSH_MS: '20',
      PG_GIN: 'off',
    };
    this.collector = new Collector(t, { port, env });
    this.table = table;
    this.journal = join(this.collector.folder, 'journal');
    this.#copy = join(this.collector.folder, 'copy');
  }

  /** Starts it, has events acknowledged, waits until all that were ever acknowledged in this run are stored, and kills it. */
  async run(from: number, to: number): Promise<void> {
    await this.collector.start();
    await this.collector.deliver(numbered(from, to));
    await this.arrived(from, to);
    await this.collector.kill();
  }

  async arrived(from: number, to: number): Promise<void> {
    const wanted = numbers(from, to);
    await expect
      .poll(() => this.#missing(wanted), { message: `all arrive\n${this.collector.log.slice(-2000)}` })
      .toEqual({ postgres: 0, file: 0 });
  }

  async #missing(wanted: readonly number[]): Promise<{ postgres: number; file: number }> {
    const stored = new Set(await this.stored());
    const lines = new Set(this.lines());
    return {
      postgres: wanted.filter((n) => !stored.has(n)).length,
      file: wanted.filter((n) => !lines.has(n)).length,
    };
  }

  /** Read from its start each time: the sink may have cut the file. */
  lines(): number[] {
    const path = join(this.collector.folder, 'events.ndjson');
    const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
    return lines.map((line) => JSON.parse(line).props.n as number);
  }

  async stored(): Promise<number[]> {
    const rows = await sql<{ n: number }>(
      server.dsn,
      `SELECT (payload->'props'->>'n')::int AS n FROM ${this.table} ORDER BY n`,
    ).catch(() => []);
    return rows.map(({ n }) => n);
  }

  copy(): void {
    rmSync(this.#copy, { recursive: true, force: true });
    cpSync(this.journal, this.#copy, { recursive: true });
  }

  putBack(): void {
    rmSync(this.journal, { recursive: true, force: true });
    cpSync(this.#copy, this.journal, { recursive: true });
  }
}

// Goal: point 7 of "Field": no acknowledged event of the branch is skipped, and none of the first run comes twice.
// Method: the copy is put back twice. The first branch takes fewer bytes than its forerunner and then more, so its lane passes the
// place where the forerunner's cursor stands in the database; the second one dies with a backlog.
test('a journal put back from a copy delivers all that is acknowledged from then on, also the second time', async (t) => {
  const branch = new Branches(t, PORT + 1, 'branch');
  await branch.run(0, 100);
  branch.copy();
  await branch.run(100, 600);
  const before = readIdentity(branch.journal)!;
  branch.putBack();
  await branch.run(1000, 1100);
  const after = readIdentity(branch.journal)!;
  assert.equal(after.life, before.life, 'the number comes again');
  assert.notDeepEqual(after.lives!.at(-1), before.lives!.at(-1), 'the life does not');
  await branch.run(1100, 2000);
  branch.putBack();
  await branch.collector.start();
  await branch.collector.deliver(numbered(3000, 3200));
  await branch.collector.kill();
  await branch.run(3200, 3300);
  await branch.arrived(3000, 3300);
  const all = [...numbers(0, 600), ...numbers(1000, 2000), ...numbers(3000, 3300)];
  assert.deepEqual(await branch.stored(), all, 'each once in Postgres');
  assert.deepEqual(
    branch.lines().toSorted((a, b) => a - b),
    all,
    'each once in the file, also those that no journal has any more',
  );
});
