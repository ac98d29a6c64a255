/**
 * Cursor: how far each lane is stored, kept in the database and moved in the transaction that stores the rows.
 *
 *   ringmain_cursors  log_id, sink, life, lane -> position, record, epoch, updated_at
 *
 * A transaction ends with `UPDATE ... SET position = to WHERE position = from AND epoch = mine`. When that finds no row:
 *   the row's epoch is higher   another process has claimed these cursors: SINK_FENCED, for good
 *   the row stands at `to`      our own commit, whose answer was lost: the batch is stored
 *   it stands elsewhere         the database failed over, or was restored, to an older state, or an in-doubt commit went
 *                               through: CursorMoved tells the runner where to go on; nothing of the batch is stored
 *   there is no row             likewise, from the lane's beginning
 * Always true: rows and cursor commit together, so what lies below a lane's cursor is stored and nothing above it is,
 * but for parts of a batch that is being bisected; their event ids keep them from being stored twice.
 * The epoch grows with each claim, by the server's clock, so it also grows over a failover that lost a claim.
 */

import { CursorMoved } from '../../delivery/contract.ts';
import type { Mark } from '../../engine/checkpoint.ts';
import { type LaneId, laneKey } from '../../engine/segment.ts';
import { errors } from '../../kernel/errors.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';

/** The part of a batch that a cursor reads. */
export interface Step {
  readonly lane: LaneId;
  readonly from: Mark;
  readonly to: Mark;
}

interface Row {
  readonly life: string;
  readonly lane: number;
  readonly position: string;
  readonly record: string;
  readonly epoch: string;
}

/** Rows of earlier lives go after this time. Should one be needed yet, its lane is delivered again, and ids tell what is known. */
const KEEP_DAYS = 30;

export class Cursors {
  readonly #logId: string;
  readonly #sink: string;
  /** Where our last commit, or the last look, has left the rows. A lane without a row is missing. */
  readonly #marks = new Map<string, Mark>();
  /** Where a row may stand as well: commits whose answer has not come, or never came. */
  readonly #doubtful = new Map<string, Set<number>>();
  #epoch: number | undefined;
  #fenced = false;

  constructor(logId: string, sink: string) {
    this.#logId = logId;
    this.#sink = sink;
  }

  get claimed(): boolean {
    return this.#epoch !== undefined;
  }

  /** Before anything of a batch is sent: this process must be the one that moves the cursors. */
  assertMine(): void {
    if (this.#fenced) throw this.#fence();
    if (this.#epoch === undefined) throw new TypeError('cursors must be claimed before the first batch is committed');
  }

  /** Makes this process the one that moves the cursors, and returns them. Others that moved them are fenced from now on. */
  async claim(link: PostgresLink, table: string): Promise<ReadonlyMap<string, Mark>> {
    await link.query('BEGIN');
    await link.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
      `ringmain ${this.#logId} ${this.#sink}`,
    ]);
    await link.query(
      `DELETE FROM ${table} WHERE log_id = $1 AND sink = $2 AND updated_at < now() - interval '${KEEP_DAYS} days'
         AND life < (SELECT max(life) FROM ${table} WHERE log_id = $1 AND sink = $2)`,
      [this.#logId, this.#sink],
    );
    const { rows } = await link.query<{ epoch: string }>(
      `SELECT greatest(coalesce(max(epoch), 0) + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS epoch
         FROM ${table} WHERE log_id = $1 AND sink = $2`,
      [this.#logId, this.#sink],
    );
    const epoch = Number(rows[0]!.epoch);
    const { rows: found } = await link.query<Row>(
      `UPDATE ${table} SET epoch = $3 WHERE log_id = $1 AND sink = $2 RETURNING life, lane, position, record, epoch`,
      [this.#logId, this.#sink, epoch],
    );
    await link.query('COMMIT');
    this.#epoch = epoch;
    this.#marks.clear();
    this.#doubtful.clear();
    for (const row of found) this.#marks.set(keyOf(row), markOf(row));
    return this.#marks;
  }

  /**
   * After a new session was opened: are the rows where we left them? Another server may have taken over without what
   * we committed last, and a lane that is idle would never find out. Throws CursorMoved when they are not.
   */
  async verify(link: PostgresLink, table: string): Promise<void> {
    if (this.#epoch === undefined) return;
    const before = new Map(this.#marks);
    const { rows } = await link.query<Row>(
      `SELECT life, lane, position, record, epoch FROM ${table} WHERE log_id = $1 AND sink = $2`,
      [this.#logId, this.#sink],
    );
    if (rows.some((row) => Number(row.epoch) > this.#epoch!)) throw this.#fence();
    if (rows.some((row) => Number(row.epoch) < this.#epoch!)) {
      await link.query(`UPDATE ${table} SET epoch = $3 WHERE log_id = $1 AND sink = $2 AND epoch < $3`, [
        this.#logId,
        this.#sink,
        this.#epoch,
      ]);
    }
    const found = new Map(rows.map((row) => [keyOf(row), markOf(row)]));
    const moved = [...this.#marks.keys(), ...found.keys()].filter((key) => {
      const mark = this.#marks.get(key);
      if (mark !== before.get(key)) return false; // moved by a batch on another session while we were asking: it is right
      const position = found.get(key)?.position;
      return position !== mark?.position && !this.#doubtful.get(key)?.has(position ?? -1);
    });
    if (moved.length > 0) throw this.#follow(new Set(moved), found);
  }

  /** Inside the batch's transaction, as its last statement: true when the row was moved and COMMIT may follow. */
  async move(link: PostgresLink, table: string, step: Step): Promise<boolean> {
    const { life, lane } = step.lane;
    const key = laneKey(step.lane);
    const place = [this.#logId, this.#sink, life, lane, step.to.position, step.to.record, this.#epoch];
    const { rowCount } = !this.#marks.has(key)
      ? await link.query(
          `INSERT INTO ${table} (log_id, sink, life, lane, position, record, epoch) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT DO NOTHING`,
          place,
        )
      : await link.query(
          `UPDATE ${table} SET position = $5, record = $6, updated_at = now()
              WHERE log_id = $1 AND sink = $2 AND life = $3 AND lane = $4 AND epoch = $7 AND position = $8`,
          [...place, step.from.position],
        );
    if (rowCount !== 1) return false;
    const doubtful = this.#doubtful.get(key);
    if (doubtful === undefined) this.#doubtful.set(key, new Set([step.to.position]));
    else doubtful.add(step.to.position);
    return true;
  }

  /** COMMIT was answered. */
  committed({ lane, to }: Step): void {
    this.#marks.set(laneKey(lane), to);
    this.#doubtful.delete(laneKey(lane));
  }

  /** After move() was false and the transaction rolled back: returns when the batch turns out to be stored, else throws. */
  async explain(link: PostgresLink, table: string, step: Step): Promise<void> {
    const { life, lane } = step.lane;
    const { rows } = await link.query<Row>(
      `SELECT life, lane, position, record, epoch FROM ${table} WHERE log_id = $1 AND sink = $2 AND life = $3 AND lane = $4`,
      [this.#logId, this.#sink, life, lane],
    );
    const [row] = rows;
    const key = laneKey(step.lane);
    if (row !== undefined && Number(row.epoch) > this.#epoch!) throw this.#fence();
    if (
      row !== undefined &&
      Number(row.position) === step.to.position &&
      this.#doubtful.get(key)?.has(step.to.position)
    ) {
      this.committed(step);
      return;
    }
    await this.verify(link, table); // takes rows of an older epoch over, and finds other lanes that were moved
    throw this.#follow(new Set([key]), new Map(row === undefined ? [] : [[key, markOf(row)]]));
  }

  #follow(lanes: ReadonlySet<string>, found: ReadonlyMap<string, Mark>): CursorMoved {
    for (const key of lanes) {
      const mark = found.get(key);
      if (mark === undefined) this.#marks.delete(key);
      else this.#marks.set(key, mark);
      this.#doubtful.delete(key);
    }
    const places = [...lanes].map((key) => `${key}@${found.get(key)?.position ?? 0}`);
    return new CursorMoved(this.#marks, `cursors must stand where this process left them: found ${places.join(', ')}`);
  }

  #fence(): Error {
    this.#fenced = true;
    return errors.SINK_FENCED({ sink: this.#sink, reason: `another process has claimed log ${this.#logId}` });
  }
}

function keyOf(row: Row): string {
  return laneKey({ life: Number(row.life), lane: row.lane });
}
function markOf(row: Row): Mark {
  return { position: Number(row.position), record: Number(row.record) };
}
