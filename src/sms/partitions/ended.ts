/**
 * Ended: finds out whether all messages of a day have ended: none waits, is being sent or has money reserved. What has
 * ended stays so, except by `ringmain sms resend`, which deletes the mark of the day before it does anything else. So a
 * look needs no lock of the day, and no snapshot of all of it: it reads message by message, each once, in the order of
 * their keys, which updates do not change.
 *
 *   1  a mark without `over_at`; whoever sends again at that time is waited for
 *   2  the look, piece by piece
 *   3  the mark gets its `over_at`, if it is still there
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { quoteName } from '../../store/postgres/names.ts';
import { LOCK_MS, type Sql } from '../../store/postgres/time-partitions.ts';
import { dateOf, type SmsDays } from './days.ts';

/** Messages of a piece: less than a second. */
const PIECE_ROWS = 100_000;

/**
 * Looks at one day, and marks it when it is over. Returns the number of the look, which proves the mark; undefined: a
 * message is under way.
 */
export async function endDay(
  link: PostgresLink,
  days: SmsDays,
  day: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const date = dateOf(days, day);
  const look = await inTransaction(link, async () => {
    await link.query(`SET LOCAL lock_timeout = ${LOCK_MS}; LOCK TABLE sms_days IN SHARE ROW EXCLUSIVE MODE`);
    await link.query(`DELETE FROM sms_days WHERE parent = 'sms_logs' AND day = $1`, [date]);
    const { rows } = await link.query<{ look: string }>(
      `INSERT INTO sms_days (parent, day) VALUES ('sms_logs', $1) RETURNING look::text`,
      [date],
    );
    return rows[0]!.look;
  });
  for await (const { found } of pieces(link, days, day, `bool_or(${UNDER_WAY})`, signal)) {
    if (!found) continue;
    await link.query('DELETE FROM sms_days WHERE look = $1', [look]);
    return undefined;
  }
  const { rowCount } = await link.query('UPDATE sms_days SET over_at = now() WHERE look = $1', [look]);
  return rowCount === 1 ? look : undefined;
}

const UNDER_WAY = "status IN ('accepted', 'sending') OR money = 'reserved'";

/** Messages of a day whose money is reserved, into the table `into` (message_id, created_at). */
export async function gatherReserved(
  link: PostgresLink,
  days: SmsDays,
  day: number,
  into: string,
  signal: AbortSignal,
): Promise<void> {
  const put = `INSERT INTO ${into} SELECT message_id, created_at FROM piece WHERE money = 'reserved' RETURNING true`;
  for await (const _ of pieces(link, days, day, 'false', signal, `, put AS (${put})`));
}

interface Piece extends Record<string, unknown> {
  readonly last: string | null;
  readonly n: number;
  readonly found: boolean | null;
}

/** All messages of a day, each in one piece. No transaction spans them. */
async function* pieces(
  sql: Sql,
  days: SmsDays,
  day: number,
  found: string,
  signal: AbortSignal,
  beside = '',
): AsyncGenerator<Piece> {
  const partition = quoteName(days.nameOf('sms_logs', day));
  for (let last = ''; ; ) {
    signal.throwIfAborted();
    const { rows } = await sql.query<Piece>(
      `WITH piece AS MATERIALIZED (
         SELECT message_id, created_at, status, money FROM ONLY ${partition} WHERE message_id > $1
           ORDER BY message_id LIMIT ${PIECE_ROWS}
       )${beside}
       SELECT max(message_id) AS last, count(*)::int AS n, ${found} AS found FROM piece`,
      [last],
    );
    const [piece] = rows as [Piece];
    yield piece;
    if (piece.n < PIECE_ROWS) return;
    last = piece.last!;
  }
}
