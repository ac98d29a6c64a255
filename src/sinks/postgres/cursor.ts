/**
 * Cursor: how far each strand (a lane of a log, a partition of a topic) is stored. The cursor is kept in the database
 * and moves in the transaction that stores the rows.
 *
 *   ringmain_cursors  log_id, sink, life, lane -> position, record, epoch, updated_at
 *   log_id            id of the log, "/", id of the life (lives of older versions: the log alone); of a topic: what its
 *                     source gives as SinkContext.logId, "/", id of the topic (without it where brokers do not tell, and
 *                     in rows of older versions, which the first claim gives the id that the topic has then)
 *   life, lane        the strand's id, as the source gives it (delivery/source.ts); position is a byte, or an offset.
 *                     Lane -1: the claim of a life, which has a row of its own
 *
 * A log that is put back from a copy counts its lives from the copy on. The random id of a life keeps the cursors of
 * the copy apart from those of the log that it left.
 *
 * `sink` is the name of the output, so several outputs share the table. A transaction ends with `UPDATE ... SET
 * position = to WHERE position = from AND epoch = mine`. When the UPDATE finds no row:
 *   the row's epoch is higher   another process has claimed the strand. Of a log: SINK_FENCED, for good: a life claims
 *                               once, and when another has claimed after it, not again. Of a topic: StrandTaken, for
 *                               the consumer group has given the partition to somebody else
 *   the row stands at `to`      it is our own commit, whose answer was lost: the batch is stored
 *   the row stands elsewhere    the database failed over, or was restored, to an older state, or a commit in doubt went
 *                               through: CursorMoved tells the runner where to go on. Nothing of the batch is stored
 *   there is no row             the same, from the strand's beginning
 * Always true: rows and cursor commit together. What lies below a strand's cursor is stored and nothing above it is,
 * except the pieces of a batch that is being bisected; their event ids keep them from being stored twice. The epoch
 * grows with each claim, by the server's clock, so it also grows over a failover that lost a claim.
 */
import { CursorMoved } from '../../delivery/contract.ts';
import { deliveryErrors } from '../../delivery/errors.ts';
import type { Mark } from '../../engine/checkpoint.ts';
import { type LaneId, laneKey } from '../../engine/segment.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { createOnce, exists } from '../../store/postgres/create.ts';
import { SetupError } from '../../store/postgres/fault.ts';
import type { TableName } from '../../store/postgres/names.ts';

export const CURSORS = 'ringmain_cursors';

/** What a cursor reads of a batch. */
export interface Step {
  readonly lane: LaneId;
  readonly from: Mark;
  readonly to: Mark;
}

/**
 * Another member of the consumer group has claimed the strand. The batch comes again until the source gives the strand
 * up.
 */
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
const CLAIM = -1;
/** Every row of a log, whatever its life. */
const OF_LOG = "split_part(log_id, '/', 1) = $1 AND sink = $2";

/**
 * Rows of earlier lives go after this time. Should one be needed later, its lane is delivered again and ids sort it
 * out.
 */
const KEEP_DAYS = 30;
/** Claims of a log that stay: a process that restarts all day must not fill the table. */
const KEEP_CLAIMS = 32;

export class Cursors {
  readonly #source: string;
  readonly #sink: string;
  readonly #life: Omit<LaneId, 'lane'> | undefined;
  /** Where our last commit, or the last look, has left the rows. A strand without a row is missing. */
  readonly #marks = new Map<string, Mark>();
  /** Other positions where a row may stand: commits whose answer has not come, or never came. */
  readonly #doubtful = new Map<string, Set<number>>();
  /** Epochs of the strands that are held one by one. Undefined: every strand of the log is held, at `#epoch`. */
  #held: Map<string, { readonly lane: LaneId; readonly epoch: number }> | undefined;
  #epoch: number | undefined;
  #fenced = false;

  readonly #remade: (strand: LaneId, position: number) => void;

  /**
   * `source` is the id of the log, or of the cluster and group; `sink` is the name of the output; `life` is who claims
   * the cursors of a log. `remade` is told of a strand that has no cursor while an earlier topic of its name has one.
   */
  constructor(
    source: string,
    sink: string,
    life?: Omit<LaneId, 'lane'>,
    remade: (strand: LaneId, position: number) => void = () => undefined,
  ) {
    this.#remade = remade;
    this.#source = source;
    this.#sink = sink;
    this.#life = life;
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
      `DELETE FROM ${table} WHERE ${OF_LOG} AND updated_at < now() - interval '${KEEP_DAYS} days'
         AND life < coalesce($3::bigint, (SELECT max(life) FROM ${table} WHERE ${OF_LOG}))`,
      [this.#source, this.#sink, this.#life?.life],
    );
    await this.#assertLast(link, table);
    const { epoch, rows } = await this.#raise(link, table, undefined);
    await this.#sign(link, table, epoch);
    await link.query('COMMIT');
    this.#held = undefined;
    this.#epoch = epoch;
    this.#marks.clear();
    this.#doubtful.clear();
    for (const row of rows) this.#marks.set(keyOf(row), markOf(row));
    return this.#marks;
  }

  /**
   * Claims these strands and returns the cursors of all that were claimed so: the partitions that the consumer group
   * has given to this process. A strand that another process claims later is found taken when its cursor moves.
   */
  async hold(link: PostgresLink, table: string, lanes: readonly LaneId[]): Promise<ReadonlyMap<string, Mark>> {
    await link.query('BEGIN');
    await this.#lock(link);
    const others = await this.#adopt(link, table, lanes);
    const { epoch, rows } = await this.#raise(link, table, lanes);
    await link.query('COMMIT');
    this.#held ??= new Map();
    this.#epoch = epoch;
    for (const lane of lanes) {
      const key = laneKey(lane);
      this.#held.set(key, { lane, epoch });
      this.#marks.delete(key);
      this.#doubtful.delete(key);
    }
    for (const row of rows) this.#marks.set(keyOf(row), markOf(row));
    for (const { life, lane, position } of others) {
      const strand = lanes.find((one) => one.life === Number(life) && one.lane === lane);
      if (strand !== undefined && !this.#marks.has(laneKey(strand))) this.#remade(strand, Number(position));
    }
    return this.#marks;
  }

  /**
   * Called when a new session was opened: are the rows where we left them? Another server may have taken over without
   * our last commits, and an idle strand would never find out. Throws CursorMoved when a row stands elsewhere.
   */
  async verify(link: PostgresLink, table: string): Promise<void> {
    if (this.#epoch === undefined) return;
    const before = new Map(this.#marks);
    const held = this.#held === undefined ? undefined : new Map(this.#held);
    const rows = await this.#read(link, table, held && [...held.values()].map(({ lane }) => lane));
    const lower: LaneId[] = [];
    for (const row of rows) {
      const key = keyOf(row);
      const mine = held?.get(key)?.epoch ?? this.#epoch;
      if (Number(row.epoch) > mine && held === undefined) throw this.#fence();
      if (Number(row.epoch) > mine) this.#taken(key);
      if (Number(row.epoch) < mine && row.lane !== CLAIM) lower.push(idOf(row));
    }
    for (const lane of lower) await this.#takeOver(link, table, lane);
    const found = new Map(rows.filter(({ lane }) => lane !== CLAIM).map((row) => [keyOf(row), markOf(row)]));
    const moved = [...new Set([...this.#marks.keys(), ...found.keys()])].filter((key) => {
      if (held !== undefined && !this.#held!.has(key)) return false; // it is somebody else's now
      const mark = this.#marks.get(key);
      if (mark !== before.get(key)) return false; // a batch on another session moved it meanwhile: it is right
      const position = found.get(key)?.position;
      return position !== mark?.position && !this.#doubtful.get(key)?.has(position ?? -1);
    });
    if (moved.length > 0) throw this.#follow(new Set(moved), found);
  }

  /** The last statement of the batch's transaction: true when the row was moved and COMMIT may follow. */
  async move(link: PostgresLink, table: string, { lane: id, from, to }: Step): Promise<boolean> {
    const key = laneKey(id);
    const epoch = this.#epochOf(key);
    const row = [this.#logId(id), this.#sink, id.life, id.lane, to.position, to.record, epoch];
    // A row that is not there yet carries no fence, so the first one of a lane looks at those of the log. Strands that
    // are held one by one have epochs of their own.
    const { rowCount } = !this.#marks.has(key)
      ? await link.query(
          `INSERT INTO ${table} (log_id, sink, life, lane, position, record, epoch)
             SELECT $1, $2, $3::bigint, $4::int, $5::bigint, $6::bigint, $7::bigint
              WHERE $8 OR NOT EXISTS
                (SELECT FROM ${table} WHERE split_part(log_id, '/', 1) = $9 AND sink = $2 AND epoch > $7::bigint)
             ON CONFLICT DO NOTHING`,
          [...row, this.#held !== undefined, this.#source],
        )
      : await link.query(
          `UPDATE ${table} SET position = $5, record = $6, updated_at = now()
              WHERE log_id = $1 AND sink = $2 AND life = $3 AND lane = $4 AND epoch = $7 AND position = $8`,
          [...row, from.position],
        );
    if (rowCount !== 1) return false;
    const doubtful = this.#doubtful.get(key);
    if (doubtful === undefined) this.#doubtful.set(key, new Set([to.position]));
    else doubtful.add(to.position);
    return true;
  }

  /** COMMIT was answered. */
  committed({ lane, to }: Step): void {
    this.#marks.set(laneKey(lane), to);
    this.#doubtful.delete(laneKey(lane));
  }

  /**
   * Called after move() was false and the transaction was rolled back. Returns when the batch turns out to be stored,
   * else throws.
   */
  async explain(link: PostgresLink, table: string, step: Step): Promise<void> {
    const { lane, to } = step;
    const key = laneKey(lane);
    const epoch = this.#epochOf(key);
    const [row] = await this.#read(link, table, [lane]);
    if (row !== undefined && Number(row.epoch) > epoch) {
      if (this.#held === undefined) throw this.#fence();
      this.#taken(key);
      this.#epochOf(key); // throws StrandTaken
    }
    if (row !== undefined && Number(row.position) === to.position && this.#doubtful.get(key)?.has(to.position)) {
      this.committed(step);
      return;
    }
    await this.verify(link, table); // takes rows of an older epoch over, and finds other strands that were moved
    throw this.#follow(new Set([key]), new Map(row === undefined ? [] : [[key, markOf(row)]]));
  }

  async #lock(link: PostgresLink): Promise<void> {
    await link.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
      `ringmain ${this.#source} ${this.#sink}`,
    ]);
  }

  /**
   * Gives rows of older versions the id that the topic of their strand has now, unless the strand has rows with an id.
   * Deletes old rows of earlier topics, and returns the others.
   */
  async #adopt(
    link: PostgresLink,
    table: string,
    lanes: readonly LaneId[],
  ): Promise<readonly Pick<Row, 'life' | 'lane' | 'position'>[]> {
    const named = lanes.filter(({ lifeId }) => lifeId !== undefined);
    if (named.length === 0) return [];
    const values = [
      this.#source,
      this.#sink,
      named.map((lane) => this.#logId(lane)),
      named.map(({ life }) => life),
      named.map(({ lane }) => lane),
    ];
    const mine = 'unnest($3::text[], $4::bigint[], $5::int[]) AS mine (log_id, life, lane)';
    const same = 'c.sink = $2 AND c.life = mine.life AND c.lane = mine.lane';
    const others = `${same} AND split_part(c.log_id, '/', 1) = $1 AND c.log_id <> mine.log_id`;
    const { rows } = await link.query<Pick<Row, 'life' | 'lane' | 'position'>>(
      `SELECT c.life, c.lane, max(c.position) AS position FROM ${table} AS c, ${mine}
       WHERE ${others} AND c.log_id <> $1 GROUP BY 1, 2`,
      values,
    );
    await link.query(
      `UPDATE ${table} AS c SET log_id = mine.log_id FROM ${mine} WHERE ${same} AND c.log_id = $1
         AND NOT EXISTS (SELECT FROM ${table} AS other WHERE other.sink = $2 AND other.life = mine.life
           AND other.lane = mine.lane AND split_part(other.log_id, '/', 1) = $1 AND other.log_id <> $1)`,
      values,
    );
    await link.query(
      `DELETE FROM ${table} AS c USING ${mine} WHERE ${others}
         AND c.updated_at < now() - interval '${KEEP_DAYS} days'`,
      values,
    );
    return rows;
  }

  /** Gives the rows a new epoch, higher than any before; undefined: all rows of the log. */
  async #raise(
    link: PostgresLink,
    table: string,
    lanes: readonly LaneId[] | undefined,
  ): Promise<{ epoch: number; rows: readonly Row[] }> {
    const { where, values } = this.#select(lanes);
    const strands = `${where} AND lane <> ${CLAIM}`;
    const { rows: found } = await link.query<{ epoch: string }>(
      `SELECT greatest(coalesce(max(epoch), 0) + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS epoch
         FROM ${table} WHERE ${where}`,
      values,
    );
    const epoch = Number(found[0]!.epoch);
    const { rows } = await link.query<Row>(
      `UPDATE ${table} SET epoch = $${values.length + 1} WHERE ${strands} RETURNING ${COLUMNS}`,
      [...values, epoch],
    );
    return { epoch, rows };
  }

  /**
   * Refuses a claim of a life that has claimed before and that another has followed: a thread that was started again
   * must not take the cursors back.
   */
  async #assertLast(link: PostgresLink, table: string): Promise<void> {
    if (this.#life === undefined) return;
    const mine = this.#logId(this.#life);
    const { rows } = await link.query<Row>(
      `SELECT ${COLUMNS} FROM ${table} WHERE ${OF_LOG} AND lane = ${CLAIM} ORDER BY epoch DESC`,
      [this.#source, this.#sink],
    );
    if (rows.some(({ log_id }) => log_id === mine) && rows[0]!.log_id !== mine) throw this.#fence();
  }

  /** Notes that this life has claimed the log at this epoch. Of the claims before, the newest stay. */
  async #sign(link: PostgresLink, table: string, epoch: number): Promise<void> {
    if (this.#life === undefined) return;
    const claims = `${OF_LOG} AND lane = ${CLAIM}`;
    await link.query(
      `DELETE FROM ${table} WHERE ${claims} AND (log_id = $3 OR epoch <
         (SELECT epoch FROM ${table} WHERE ${claims} ORDER BY epoch DESC OFFSET ${KEEP_CLAIMS - 1} LIMIT 1))`,
      [this.#source, this.#sink, this.#logId(this.#life)],
    );
    await link.query(
      `INSERT INTO ${table} (log_id, sink, life, lane, position, record, epoch)
       VALUES ($1, $2, $3, ${CLAIM}, 0, 0, $4)`,
      [this.#logId(this.#life), this.#sink, this.#life.life, epoch],
    );
  }

  /** What the rows of this life have in the column log_id. */
  #logId({ lifeId }: Pick<LaneId, 'lifeId'>): string {
    return lifeId === undefined ? this.#source : `${this.#source}/${lifeId}`;
  }

  /** After a failover that lost our claim, the row has an older epoch: it gets ours again. */
  async #takeOver(link: PostgresLink, table: string, lane: LaneId): Promise<void> {
    const { where, values } = this.#select([lane]);
    const at = `$${values.length + 1}`;
    await link.query(`UPDATE ${table} SET epoch = ${at} WHERE ${where} AND epoch < ${at}`, [
      ...values,
      this.#epochOf(laneKey(lane)),
    ]);
  }

  async #read(link: PostgresLink, table: string, lanes: readonly LaneId[] | undefined): Promise<readonly Row[]> {
    const { where, values } = this.#select(lanes);
    return (await link.query<Row>(`SELECT ${COLUMNS} FROM ${table} WHERE ${where}`, values)).rows;
  }

  #select(lanes: readonly LaneId[] | undefined): { where: string; values: unknown[] } {
    if (lanes === undefined) return { where: OF_LOG, values: [this.#source, this.#sink] };
    return {
      where:
        'sink = $1 AND (log_id, life, lane) IN (SELECT * FROM unnest($2::text[], $3::bigint[], $4::int[]) AS strand)',
      values: [
        this.#sink,
        lanes.map((id) => this.#logId(id)),
        lanes.map(({ life }) => life),
        lanes.map(({ lane }) => lane),
      ],
    };
  }

  #epochOf(key: string): number {
    if (this.#held === undefined) return this.#epoch!;
    const held = this.#held.get(key);
    if (held === undefined) {
      throw new StrandTaken(`strand must be held by this process: strand=${key}, source=${this.#source}`);
    }
    return held.epoch;
  }

  #taken(key: string): void {
    this.#held?.delete(key);
    this.#marks.delete(key);
    this.#doubtful.delete(key);
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
    const reason =
      `another process has claimed log ${this.#source} and runs on a copy of this journal; ` +
      'stop one of the two: the one that is started last has the cursors, and each delivers what its journal holds';
    return deliveryErrors.SINK_FENCED({ sink: this.#sink, reason });
  }
}

function idOf({ log_id, life, lane }: Row): LaneId {
  const [, lifeId] = log_id.split('/');
  return { life: Number(life), lane, ...(lifeId === undefined ? {} : { lifeId }) };
}
const keyOf = (row: Row): string => laneKey(idOf(row));
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
    `CREATE TABLE IF NOT EXISTS ${cursors.sql} (log_id text, sink text, life bigint, lane int,` +
    ' position bigint NOT NULL, record bigint NOT NULL, epoch bigint NOT NULL,' +
    ' updated_at timestamptz NOT NULL DEFAULT now(),' +
    ' PRIMARY KEY (log_id, sink, life, lane)) WITH (fillfactor = 20)'
  );
}
