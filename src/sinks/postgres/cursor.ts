/**
 * Cursor: how far each strand (a lane of a log, a partition of a topic) is stored. The cursor is kept in the database and
 * moves in the transaction that stores the rows.
 *
 *   ringmain_cursors  log_id, sink, life, lane -> position, record, epoch, updated_at
 *   strand "7-0"      lane 0 of life 7: log_id is the log's id
 *   strand "topic/3"  partition 3: log_id is "<id of the source>/topic", life is 0, position is the offset
 *
 * `sink` is the name of the output, so several outputs share the table. A transaction ends with
 * `UPDATE ... SET position = to WHERE position = from AND epoch = mine`. When the UPDATE finds no row:
 *   the row's epoch is higher   another process has claimed the strand. Of a log: SINK_FENCED, for good. Of a topic:
 *                               StrandTaken, for the consumer group has given the partition to somebody else
 *   the row stands at `to`      it is our own commit, whose answer was lost: the batch is stored
 *   the row stands elsewhere    the database failed over, or was restored, to an older state, or a commit in doubt went
 *                               through: CursorMoved tells the runner where to go on. Nothing of the batch is stored
 *   there is no row             the same, from the strand's beginning
 * Always true: rows and cursor commit together. What lies below a strand's cursor is stored and nothing above it is, except
 * the pieces of a batch that is being bisected; their event ids keep them from being stored twice.
 * The epoch grows with each claim, by the server's clock, so it also grows over a failover that lost a claim.
 */
import { CursorMoved } from '../../delivery/contract.ts';
import type { Mark } from '../../engine/checkpoint.ts';
import { errors } from '../../kernel/errors.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { createOnce, exists } from '../../store/postgres/create.ts';
import { SetupError } from '../../store/postgres/fault.ts';
import type { TableName } from '../../store/postgres/names.ts';

export const CURSORS = 'ringmain_cursors';

/** What a cursor reads of a batch. */
export interface Step {
  /** Key of the strand. */
  readonly strand: string;
  readonly from: Mark;
  readonly to: Mark;
}

/** Another member of the consumer group has claimed the strand. The batch comes again until the source gives the strand up. */
export class StrandTaken extends Error {
  override readonly name = 'StrandTaken';
}

interface Row {
  readonly log_id: string;
  readonly life: string;
  readonly lane: number;
  readonly position: string;
  readonly record: string;
  readonly epoch: string;
}
const COLUMNS = 'log_id, life, lane, position, record, epoch';

/** Rows of earlier lives go after this time. Should one be needed later, its lane is delivered again and ids sort it out. */
const KEEP_DAYS = 30;

export class Cursors {
  readonly #source: string;
  readonly #sink: string;
  /** Where our last commit, or the last look, has left the rows. A strand without a row is missing. */
  readonly #marks = new Map<string, Mark>();
  /** Other positions where a row may stand: commits whose answer has not come, or never came. */
  readonly #doubtful = new Map<string, Set<number>>();
  /** Epochs of the strands that are held one by one. Undefined: every strand of the log is held, at `#epoch`. */
  #held: Map<string, number> | undefined;
  #epoch: number | undefined;
  #fenced = false;

  /** `source` is the id of the log, or of the cluster and group; `sink` is the name of the output. */
  constructor(source: string, sink: string) {
    this.#source = source;
    this.#sink = sink;
  }

  get claimed(): boolean {
    return this.#epoch !== undefined;
  }

  /** Called before anything of a batch is sent: this process must be the one that moves the cursors. */
  assertMine(): void {
    if (this.#fenced) throw this.#fence();
    if (this.#epoch === undefined) throw new TypeError('cursors must be claimed before the first batch is committed');
  }

  /** Claims every cursor of the log and returns them. Processes that moved them before are fenced from now on. */
  async claim(link: PostgresLink, table: string): Promise<ReadonlyMap<string, Mark>> {
    await link.query('BEGIN');
    await this.#lock(link);
    await link.query(
      `DELETE FROM ${table} WHERE log_id = $1 AND sink = $2 AND updated_at < now() - interval '${KEEP_DAYS} days'
         AND life < (SELECT max(life) FROM ${table} WHERE log_id = $1 AND sink = $2)`,
      [this.#source, this.#sink],
    );
    const { epoch, rows } = await this.#raise(link, table, undefined);
    await link.query('COMMIT');
    this.#held = undefined;
    this.#epoch = epoch;
    this.#marks.clear();
    this.#doubtful.clear();
    for (const row of rows) this.#marks.set(this.#keyOf(row), markOf(row));
    return this.#marks;
  }

  /**
   * Claims the strands that are new in the list, forgets those that are not in it, and returns the cursors of the list: the
   * partitions that the consumer group has given to this process.
   */
  async hold(link: PostgresLink, table: string, strands: readonly string[]): Promise<ReadonlyMap<string, Mark>> {
    const held = this.#held ?? new Map<string, number>();
    const fresh = strands.filter((strand) => !held.has(strand));
    await link.query('BEGIN');
    await this.#lock(link);
    const { epoch, rows } = await this.#raise(link, table, fresh);
    await link.query('COMMIT');
    this.#held = held;
    this.#epoch = epoch;
    for (const strand of [...held.keys(), ...fresh]) {
      if (held.has(strand) && strands.includes(strand)) continue;
      held.delete(strand);
      this.#marks.delete(strand);
      this.#doubtful.delete(strand);
    }
    for (const strand of fresh) held.set(strand, epoch);
    for (const row of rows) this.#marks.set(this.#keyOf(row), markOf(row));
    return this.#marks;
  }

  /**
   * Called when a new session was opened: are the rows where we left them? Another server may have taken over without our
   * last commits, and an idle strand would never find out. Throws CursorMoved when a row stands elsewhere.
   */
  async verify(link: PostgresLink, table: string): Promise<void> {
    if (this.#epoch === undefined) return;
    const before = new Map(this.#marks);
    const held = this.#held === undefined ? undefined : new Map(this.#held);
    const rows = await this.#read(link, table, held && [...held.keys()]);
    const lower: string[] = [];
    for (const row of rows) {
      const key = this.#keyOf(row);
      const mine = held === undefined ? this.#epoch : held.get(key)!;
      if (Number(row.epoch) > mine && held === undefined) throw this.#fence();
      if (Number(row.epoch) > mine) this.#taken(key);
      if (Number(row.epoch) < mine) lower.push(key);
    }
    for (const key of lower) await this.#takeOver(link, table, key);
    const found = new Map(rows.map((row) => [this.#keyOf(row), markOf(row)]));
    const moved = [...new Set([...this.#marks.keys(), ...found.keys()])].filter((key) => {
      if (held !== undefined && !this.#held!.has(key)) return false; // it is somebody else's now
      const mark = this.#marks.get(key);
      if (mark !== before.get(key)) return false; // a batch on another session moved it while we were asking: it is right
      const position = found.get(key)?.position;
      return position !== mark?.position && !this.#doubtful.get(key)?.has(position ?? -1);
    });
    if (moved.length > 0) throw this.#follow(new Set(moved), found);
  }

  /** The last statement of the batch's transaction: true when the row was moved and COMMIT may follow. */
  async move(link: PostgresLink, table: string, { strand, from, to }: Step): Promise<boolean> {
    const epoch = this.#epochOf(strand);
    const { log, life, lane } = this.#rowOf(strand);
    const row = [log, this.#sink, life, lane, to.position, to.record, epoch];
    const { rowCount } = !this.#marks.has(strand)
      ? await link.query(
          `INSERT INTO ${table} (log_id, sink, life, lane, position, record, epoch) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT DO NOTHING`,
          row,
        )
      : await link.query(
          `UPDATE ${table} SET position = $5, record = $6, updated_at = now()
              WHERE log_id = $1 AND sink = $2 AND life = $3 AND lane = $4 AND epoch = $7 AND position = $8`,
          [...row, from.position],
        );
    if (rowCount !== 1) return false;
    const doubtful = this.#doubtful.get(strand);
    if (doubtful === undefined) this.#doubtful.set(strand, new Set([to.position]));
    else doubtful.add(to.position);
    return true;
  }

  /** COMMIT was answered. */
  committed({ strand, to }: Step): void {
    this.#marks.set(strand, to);
    this.#doubtful.delete(strand);
  }

  /** Called after move() was false and the transaction was rolled back. Returns when the batch turns out to be stored, else throws. */
  async explain(link: PostgresLink, table: string, step: Step): Promise<void> {
    const { strand, to } = step;
    const epoch = this.#epochOf(strand);
    const [row] = await this.#read(link, table, [strand]);
    if (row !== undefined && Number(row.epoch) > epoch) {
      if (this.#held === undefined) throw this.#fence();
      this.#taken(strand);
      this.#epochOf(strand); // throws StrandTaken
    }
    if (row !== undefined && Number(row.position) === to.position && this.#doubtful.get(strand)?.has(to.position)) {
      this.committed(step);
      return;
    }
    await this.verify(link, table); // takes rows of an older epoch over, and finds other strands that were moved
    throw this.#follow(new Set([strand]), new Map(row === undefined ? [] : [[strand, markOf(row)]]));
  }

  async #lock(link: PostgresLink): Promise<void> {
    await link.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
      `ringmain ${this.#source} ${this.#sink}`,
    ]);
  }

  /** Gives the rows a new epoch, higher than any before; undefined: all rows of the log. */
  async #raise(
    link: PostgresLink,
    table: string,
    strands: readonly string[] | undefined,
  ): Promise<{ epoch: number; rows: readonly Row[] }> {
    const { where, values } = this.#select(strands);
    const { rows: found } = await link.query<{ epoch: string }>(
      `SELECT greatest(coalesce(max(epoch), 0) + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS epoch
         FROM ${table} WHERE ${where}`,
      values,
    );
    const epoch = Number(found[0]!.epoch);
    const { rows } = await link.query<Row>(
      `UPDATE ${table} SET epoch = $${values.length + 1} WHERE ${where} RETURNING ${COLUMNS}`,
      [...values, epoch],
    );
    return { epoch, rows };
  }

  /** After a failover that lost our claim, the row has an older epoch: it gets ours again. */
  async #takeOver(link: PostgresLink, table: string, strand: string): Promise<void> {
    const { where, values } = this.#select([strand]);
    const epoch = this.#held === undefined ? this.#epoch : this.#held.get(strand);
    const at = `$${values.length + 1}`;
    await link.query(`UPDATE ${table} SET epoch = ${at} WHERE ${where} AND epoch < ${at}`, [...values, epoch]);
  }

  async #read(link: PostgresLink, table: string, strands: readonly string[] | undefined): Promise<readonly Row[]> {
    const { where, values } = this.#select(strands);
    return (await link.query<Row>(`SELECT ${COLUMNS} FROM ${table} WHERE ${where}`, values)).rows;
  }

  #select(strands: readonly string[] | undefined): { where: string; values: unknown[] } {
    if (strands === undefined) return { where: 'sink = $1 AND log_id = $2', values: [this.#sink, this.#source] };
    const rows = strands.map((strand) => this.#rowOf(strand));
    const where =
      'sink = $1 AND (log_id, life, lane) IN (SELECT * FROM unnest($2::text[], $3::bigint[], $4::int[]) AS strand)';
    const lists = [rows.map(({ log }) => log), rows.map(({ life }) => life), rows.map(({ lane }) => lane)];
    return { where, values: [this.#sink, ...lists] };
  }

  #epochOf(strand: string): number {
    if (this.#held === undefined) return this.#epoch!;
    const epoch = this.#held.get(strand);
    if (epoch === undefined) {
      throw new StrandTaken(`strand must be held by this process: strand=${strand}, source=${this.#source}`);
    }
    return epoch;
  }

  #taken(strand: string): void {
    this.#held?.delete(strand);
    this.#marks.delete(strand);
    this.#doubtful.delete(strand);
  }

  #follow(strands: ReadonlySet<string>, found: ReadonlyMap<string, Mark>): CursorMoved {
    for (const key of strands) {
      const mark = found.get(key);
      if (mark === undefined) this.#marks.delete(key);
      else this.#marks.set(key, mark);
      this.#doubtful.delete(key);
    }
    const marks = [...strands].map((key) => `${key}@${found.get(key)?.position ?? 0}`);
    return new CursorMoved(this.#marks, `cursors must stand where this process left them: found ${marks.join(', ')}`);
  }

  #fence(): Error {
    this.#fenced = true;
    return errors.SINK_FENCED({ sink: this.#sink, reason: `another process has claimed log ${this.#source}` });
  }

  #rowOf(strand: string): { log: string; life: number; lane: number } {
    const slash = strand.lastIndexOf('/');
    if (slash >= 0) {
      return { log: `${this.#source}/${strand.slice(0, slash)}`, life: 0, lane: Number(strand.slice(slash + 1)) };
    }
    const [life, lane] = strand.split('-').map(Number);
    return { log: this.#source, life: life!, lane: lane! };
  }

  #keyOf({ log_id, life, lane }: Row): string {
    return log_id === this.#source ? `${life}-${lane}` : `${log_id.slice(this.#source.length + 1)}/${lane}`;
  }
}

function markOf(row: Row): Mark {
  return { position: Number(row.position), record: Number(row.record) };
}

/** Makes the table of cursors when it is missing and `create` allows it. */
export async function prepareCursors(link: PostgresLink, cursors: TableName, create: boolean): Promise<void> {
  if (await exists(link, cursors)) return;
  if (!create) {
    throw new SetupError(
      `table ${cursors.sql} must exist when PG_CREATE_TABLE=false; it is made by: ${cursorsSql(cursors)}`,
    );
  }
  await createOnce(link, () => link.query(cursorsSql(cursors)));
}

function cursorsSql(cursors: TableName): string {
  // A low fillfactor keeps the row that changes with every transaction on its page (HOT), so the table never grows.
  return (
    `CREATE TABLE IF NOT EXISTS ${cursors.sql} (log_id text, sink text, life bigint, lane int, position bigint NOT NULL,` +
    ' record bigint NOT NULL, epoch bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(),' +
    ' PRIMARY KEY (log_id, sink, life, lane)) WITH (fillfactor = 20)'
  );
}
