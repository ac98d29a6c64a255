// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are source code
/** What exactly-once into Postgres rests on. The tests start a real server. */
import type { Mutant } from './mutant.ts';

const cursor = 'src/sinks/postgres/cursor.ts';
const sink = 'src/sinks/postgres/sink.ts';
const transaction = 'src/sinks/postgres/transaction.ts';
export const postgresMutants: readonly Mutant[] = [
  {
    name: 'nobody is told that an idle session has ended',
    file: transaction,
    edits: [['this.#cursors.claimed && idle) this.#context.lost?.();', 'this.#cursors.claimed && idle) return;']],
    tests: ['test/sinks/postgres/faults.test.ts'],
  },
  {
    name: 'a life is known by its number alone',
    file: 'src/engine/segment.ts',
    edits: [
      [
        'lifeId === undefined ? `${life}-${lane}` : `${life}-${lane}-${lifeId}`',
        'lifeId === null ? `` : `${life}-${lane}`',
      ],
    ],
    tests: ['test/sinks/postgres/deliver.test.ts'],
  },
  {
    name: 'a life that another has followed claims again',
    file: cursor,
    edits: [['await this.#assertLast(link, table);', '']],
    tests: ['test/sinks/postgres/deliver.test.ts'],
  },
  {
    name: 'the first row of a lane looks at no fence',
    file: cursor,
    edits: [['WHERE $8 OR NOT EXISTS', 'WHERE $8 OR $8 IS NOT NULL OR NOT EXISTS']],
    tests: ['test/sinks/postgres/deliver.test.ts'],
  },
  {
    name: 'the cursor moves from wherever it stands',
    file: cursor,
    edits: [['AND epoch = $7 AND position = $8`', 'AND epoch = $7 AND $8::bigint IS NOT NULL`']],
    tests: ['test/sinks/postgres/deliver.test.ts'],
  },
  {
    name: 'the cursor moves whoever has claimed it',
    file: cursor,
    edits: [['AND epoch = $7 AND position = $8`', 'AND $7::bigint IS NOT NULL AND position = $8`']],
    tests: ['test/sinks/postgres/deliver.test.ts'],
  },
  {
    name: 'rows are committed before the cursor',
    file: transaction,
    edits: [
      [
        'if (!(await this.#cursors.move(',
        "await link.query('COMMIT; BEGIN');\n        if (!(await this.#cursors.move(",
      ],
    ],
    tests: ['test/sinks/postgres/deliver.test.ts'],
  },
  {
    name: 'a batch does not wait for the one before',
    file: transaction,
    edits: [['(await this.#mustGiveWay(link, before))', 'before === undefined']],
    tests: ['test/sinks/postgres/deliver.test.ts'],
  },
  {
    name: 'a batch that blocks the one before does not give way',
    file: transaction,
    edits: [['if (rows[0]!.blocking) return true;', 'if (rows[0]!.blocking && batchIsAlone) return true;']],
    tests: ['test/sinks/postgres/deliver.test.ts'],
  },
  {
    name: 'duplicates are not sorted out',
    file: sink,
    edits: [['ON CONFLICT (${conflict}) DO NOTHING`', '`']],
    tests: ['test/sinks/postgres/deliver.test.ts'],
  },
  {
    name: 'a lost answer to COMMIT is forgotten',
    file: cursor,
    edits: [
      [
        'else doubtful.add(to.position);\n    return true;',
        'else doubtful.add(to.position);\n    this.#doubtful.clear();\n    return true;',
      ],
    ],
    tests: ['test/sinks/postgres/faults.test.ts'],
  },
  {
    name: 'a new session does not look at the cursors',
    file: cursor,
    edits: [['if (moved.length > 0) throw', 'if (moved.length > 1e9) throw']],
    tests: ['test/sinks/postgres/faults.test.ts'],
  },
  {
    name: 'a vanished client keeps its rows',
    file: transaction,
    edits: [['; ${idle}`', '`']],
    tests: ['test/sinks/postgres/faults.test.ts'],
  },
  {
    name: 'a statement may run for ever',
    file: transaction,
    edits: [['SET LOCAL statement_timeout = ${timeout};', '']],
    tests: ['test/sinks/postgres/faults.test.ts'],
  },
  {
    name: 'a buffer is used again while the socket has it',
    file: 'src/sinks/postgres/encode.ts',
    edits: [['    this.#allocate(0);', '']],
    tests: ['test/sinks/postgres/encode.test.ts'],
  },
  {
    name: 'a partition that another process has claimed is written all the same',
    file: cursor,
    edits: [
      ['      this.#held.set(key, { lane, epoch });', '      this.#held.set(key, { lane, epoch: epoch + 1e6 });'],
    ],
    tests: ['test/sinks/postgres/transaction.test.ts'],
  },
  {
    name: 'two processes migrate at once',
    file: 'src/store/postgres/migrate.ts',
    edits: [['if (rows[0]!.mine) return;', 'if (rows.length > 0) return;']],
    tests: ['test/store/postgres/migrate.test.ts'],
  },
  {
    name: 'two processes run a locked job at once',
    file: 'src/store/postgres/job-ledger.ts',
    edits: [['if (!rows[0]!.mine) {', 'if (rows[0] === undefined) {']],
    tests: ['test/service/scheduler.test.ts'],
  },
  {
    name: 'a clock that was set back far stops a job for good',
    file: 'src/service/scheduler.ts',
    edits: [['if (seat.doneMs > dueMs + seat.intervalMs) seat.doneMs = dueMs;', '']],
    tests: ['test/service/scheduler.test.ts'],
  },
];
