/**
 * Postgres sink: one batch is one COPY in one transaction (transaction.ts), its own load or that of the output.
 *
 *   COPY into the session's temporary table | INSERT ... SELECT ... ON CONFLICT (event_id) DO NOTHING
 *
 * The unique event id makes a client's retry harmless. PG_COPY=false loads by one INSERT of one jsonb parameter and
 * keeps nothing in the session, as PgBouncer in transaction mode demands.
 */
import type { Batching, SinkBatch, SinkContext, SinkKind } from '../../delivery/contract.ts';
import { attachBoard, createBoard } from '../../kernel/metrics.ts';
import { placeOf } from '../../kernel/place.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { parseDsn } from '../../store/postgres/dsn.ts';
import { SetupError } from '../../store/postgres/fault.ts';
import { parseTableName, siblingOf } from '../../store/postgres/names.ts';
import { type PostgresConfig, postgresConfig } from './config.ts';
import { CURSORS } from './cursor.ts';
import { BatchEncoder } from './encode.ts';
import type { Load, MakeLoad } from './load.ts';
import { type EventTable, prepareTable, STAGE } from './table.ts';
import { classify, type Transaction, TransactionTarget } from './transaction.ts';

/** The events of a batch, into PG_TABLE. */
class EventLoad implements Load {
  readonly #config: PostgresConfig;
  readonly #encoder = new BatchEncoder();
  readonly #repeated: (count: number) => void;
  #table: EventTable | undefined;

  /** `repeated` is told how many rows of a committed batch were there already. */
  constructor(config: PostgresConfig, repeated: (count: number) => void) {
    this.#config = config;
    this.#repeated = repeated;
  }

  async prepare(link: PostgresLink): Promise<void> {
    const { pgTable, pgCreateTable: create, pgGin: gin, pgCopy: copy } = this.#config;
    this.#table = await prepareTable(link, { name: parseTableName(pgTable), create, gin, copy });
  }

  async load(transaction: Transaction, batch: SinkBatch): Promise<void> {
    const { events, conflict } = this.#table as EventTable;
    const once = `ON CONFLICT (${conflict}) DO NOTHING`;
    let fresh: number | null;
    if (this.#config.pgCopy) {
      await transaction.copy(`COPY ${STAGE} FROM STDIN (FORMAT binary)`, this.#encoder.rows(batch));
      this.#encoder.done();
      const sql = `INSERT INTO ${events} (event_id, ts, payload) SELECT event_id, ts, payload FROM ${STAGE} ${once}`;
      ({ rowCount: fresh } = await transaction.query(sql));
    } else {
      await transaction.begin();
      ({ rowCount: fresh } = await transaction.query(
        `INSERT INTO ${events} (event_id, ts, payload)
         SELECT (e->>'event_id')::uuid, (e->>'ts')::timestamptz, e FROM jsonb_array_elements($1::jsonb) AS e ${once}`,
        [this.#encoder.array(batch)],
      ));
      this.#encoder.done();
    }
    transaction.onCommit(() => this.#repeated(batch.count - (fresh ?? 0)));
  }

  abandon(): void {
    this.#encoder.abandon();
  }
}

export class PostgresTarget extends TransactionTarget {
  readonly #context: SinkContext;
  readonly #told: { duplicates: number };

  /** `load`: the load of the output; left out, the events go to PG_TABLE. */
  constructor(config: PostgresConfig, context: SinkContext, load?: () => Load) {
    if (config.pgDsn === undefined) throw new SetupError('PG_DSN must be set when OUTPUTS includes postgres');
    const told = { duplicates: 0 };
    const repeated = (count: number) => {
      told.duplicates += count;
    };
    super(
      {
        output: context.name,
        source: context.logId,
        ...(context.life === undefined ? {} : { life: context.life }),
        dsn: parseDsn(config.pgDsn),
        sessions: config.pgConnections,
        connectTimeoutMs: config.pgConnectTimeoutMs,
        statementTimeoutMs: config.pgStatementTimeoutMs,
        cursors: siblingOf(parseTableName(config.pgTable), CURSORS),
        createCursors: config.pgCreateTable,
        ordered: !config.pgCopy,
        load: load ?? (() => new EventLoad(config, repeated)),
      },
      context,
    );
    this.#context = context;
    this.#told = told;
  }

  /** Rows that were there already: a client's retry, or a repeated batch. */
  get duplicates(): number {
    return this.#told.duplicates;
  }

  override async close(): Promise<void> {
    await super.close();
    const { duplicates } = this;
    if (duplicates > 0) this.#context.log.info({ duplicates }, 'Postgres already had these events');
  }
}

async function open(config: PostgresConfig, context: SinkContext): Promise<PostgresTarget> {
  const { load, name: output, log, life } = context;
  if (load === undefined) return new PostgresTarget(config, context);
  const { default: make } = (await import(load.module)) as { readonly default: MakeLoad };
  // A tool's metrics have no board that anybody reads.
  const meters = load.meters ?? ((set) => attachBoard(set, createBoard([set], 1), 0));
  const { values, shared } = load;
  return new PostgresTarget(config, context, make({ output, values, shared, life, log, meters }));
}

function batching({ pgBatchSize, pgBatchBytes, pgFlushMs }: PostgresConfig): Batching {
  return { records: pgBatchSize, bytes: pgBatchBytes, flushMs: pgFlushMs };
}

export const postgresSink: SinkKind<PostgresConfig> = {
  name: 'postgres',
  config: postgresConfig,
  waits: 'event-loop',
  batching,
  places: ({ pgDsn }) => (pgDsn === undefined ? [] : parseDsn(pgDsn).hosts.map(placeOf)),
  // Connects with the first call: the runner's back-off is then the only one.
  open,
  classify,
};
