/** Answers about uploads: rows and files change together, each behind the lock of its digest (store.ts). */

import type { Answers } from '../../service/database/questions.ts';
import { serviceErrors } from '../../service/errors.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { gatewayErrors } from '../errors.ts';
import type { PictureFormat } from './inspect.ts';
import type { KeepQuestion, ListQuestion, OneQuestion, Upload } from './questions.ts';
import { place, removeFile, removeUnowned, withDigest } from './store.ts';

type Row = {
  readonly id: string;
  readonly sha256: string;
  readonly bytes: string;
  readonly format: string;
  readonly width: number;
  readonly height: number;
  readonly path: string;
  readonly created_at: string;
};

const COLUMNS = `o.id, encode(u.sha256, 'hex') AS sha256, u.bytes::text, u.format, u.width, u.height, u.path,
  to_char(o.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at`;
const FROM = 'FROM upload_owners o JOIN uploads u USING (sha256)';

const uploadOf = ({ bytes, format, created_at: createdAt, ...row }: Row): Upload => ({
  ...row,
  bytes: Number(bytes),
  format: format as PictureFormat,
  createdAt,
});

/** Gives the upload to the user within the storage quota. Returns the row, that of before when the user had it. */
async function own(link: PostgresLink, question: KeepQuestion): Promise<Upload> {
  const { userId, id, sha256, path, bytes, format, width, height } = question;
  // Uploads of one user are counted one after the other, so that no two fill the same room.
  const { rows } = await link.query<{ storage: string | null }>(
    `SELECT q.storage_bytes::text AS storage FROM users LEFT JOIN quotas q ON q.user_id = users.id
     WHERE users.id = $1 FOR NO KEY UPDATE OF users`,
    [userId],
  );
  const user = rows[0];
  if (user === undefined) throw gatewayErrors.USER_INACTIVE({});
  await link.query(
    `INSERT INTO uploads (sha256, path, bytes, format, width, height)
     VALUES (decode($1, 'hex'), $2, $3, $4, $5, $6) ON CONFLICT (sha256) DO NOTHING`,
    [sha256, path, bytes, format, width, height],
  );
  const { rows: added } = await link.query(
    `INSERT INTO upload_owners (id, user_id, sha256) VALUES ($1, $2, decode($3, 'hex'))
     ON CONFLICT (user_id, sha256) DO NOTHING RETURNING id`,
    [id, userId, sha256],
  );
  if (added.length > 0 && user.storage !== null) {
    const { rows: sums } = await link.query<{ used: string }>(
      `SELECT coalesce(sum(u.bytes), 0)::text AS used ${FROM} WHERE o.user_id = $1`,
      [userId],
    );
    const used = Number(sums[0]!.used);
    if (used > Number(user.storage))
      throw gatewayErrors.STORAGE_EXCEEDED({ limit: Number(user.storage), used: used - bytes, bytes });
  }
  const { rows: found } = await link.query<Row>(
    `SELECT ${COLUMNS} ${FROM} WHERE o.user_id = $1 AND o.sha256 = decode($2, 'hex')`,
    [userId, sha256],
  );
  return uploadOf(found[0]!);
}

export const uploadAnswers = (folder: string): Answers => ({
  /** The file is in its place and its rows are committed; an Upload. */
  keep: (link, question: KeepQuestion): Promise<Upload> =>
    withDigest(link, question.sha256, async () => {
      const isNew = await place(folder, question.temporary, question.path);
      try {
        return await inTransaction(link, () => own(link, question));
      } catch (error) {
        // Refused: a file that came with it goes with it, unless another row names it by now.
        if (isNew && link.broken === undefined) {
          const { rows } = await link.query("SELECT FROM uploads WHERE sha256 = decode($1, 'hex')", [question.sha256]);
          if (rows.length === 0) await removeFile(link, folder, question.path);
        }
        throw error;
      }
    }),

  async list(link, { userId, limit, after }: ListQuestion): Promise<readonly Upload[]> {
    const { rows } = await link.query<Row>(
      `SELECT ${COLUMNS} ${FROM} WHERE o.user_id = $1
         AND ($2::timestamptz IS NULL OR (o.created_at, o.id) < ($2::timestamptz, $3::uuid))
       ORDER BY o.created_at DESC, o.id DESC LIMIT $4`,
      [userId, after?.createdAt ?? null, after?.id ?? null, limit],
    );
    return rows.map(uploadOf);
  },

  async one(link, { userId, id }: OneQuestion): Promise<Upload> {
    const { rows } = await link.query<Row>(`SELECT ${COLUMNS} ${FROM} WHERE o.user_id = $1 AND o.id = $2`, [
      userId,
      id,
    ]);
    if (rows[0] === undefined) throw serviceErrors.RESOURCE_UNKNOWN({ what: 'upload', id });
    return uploadOf(rows[0]);
  },

  async remove(link, { userId, id }: OneQuestion): Promise<void> {
    const { rows } = await link.query<{ sha256: string }>(
      "SELECT encode(sha256, 'hex') AS sha256 FROM upload_owners WHERE user_id = $1 AND id = $2",
      [userId, id],
    );
    const sha256 = rows[0]?.sha256;
    if (sha256 === undefined) throw serviceErrors.RESOURCE_UNKNOWN({ what: 'upload', id });
    await withDigest(link, sha256, async () => {
      await link.query('DELETE FROM upload_owners WHERE user_id = $1 AND id = $2', [userId, id]);
      await removeUnowned(link, folder, sha256);
    });
  },
});
