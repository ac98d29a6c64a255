/** What the database worker answers about pictures: who owns them, and purges. */

import type { Answers } from '../../service/database/questions.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';

export const OWNS_AREA = 'owns';
export const IMAGES_AREA = 'images';

export interface OwnsInput {
  readonly userId: number;
  readonly path: string;
}

export interface PurgeInput {
  readonly source: string;
  readonly prefix: boolean;
}

/** Older rules are not needed: nothing is kept in a cache for so long (cache/entry.ts). */
const RULES_KEPT = '60 days';
/** Each acceptor has all of them in memory. */
const RULES_MAX = 20_000;
const TIDIED_EVERY = 100;
/** Rules that go at once, while the table is locked. */
const TIDIED_MAX = 1000;

async function owns(link: PostgresLink, { userId, path }: OwnsInput): Promise<boolean> {
  const { rows } = await link.query(
    'SELECT FROM uploads u JOIN upload_owners o USING (sha256) WHERE u.path = $1 AND o.user_id = $2',
    [path, userId],
  );
  return rows.length > 0;
}

/**
 * The lock makes numbers visible in their order, which caches rely on (cache/purges.ts). A newer rule for the same
 * takes the place of the one before.
 */
export async function purge(link: PostgresLink, { source, prefix }: PurgeInput): Promise<null> {
  await inTransaction(link, async () => {
    await link.query('LOCK TABLE cache_purges IN SHARE ROW EXCLUSIVE MODE');
    await link.query('DELETE FROM cache_purges WHERE source = $1 AND prefix = $2', [source, prefix]);
    const { rows } = await link.query<{ id: string }>(
      'INSERT INTO cache_purges (source, prefix) VALUES ($1, $2) RETURNING id',
      [source, prefix],
    );
    if (Number(rows[0]!.id) % TIDIED_EVERY === 0) await tidyRules(link, RULES_MAX);
  });
  return null;
}

/**
 * Keeps the newest `rulesMax` rules. The oldest one of them then ends whatever was cached before it, in place of all
 * that go: somebody who purges a lot costs others entries of long ago, and no rule is lost. Call while the table is
 * locked.
 */
export async function tidyRules(link: PostgresLink, rulesMax: number): Promise<void> {
  await link.query(`DELETE FROM cache_purges WHERE created_at < now() - interval '${RULES_KEPT}'`);
  const { rows } = await link.query<{ id: string }>(
    'SELECT id FROM cache_purges ORDER BY id DESC LIMIT 1 OFFSET $1::bigint - 1',
    [rulesMax],
  );
  const oldest = rows[0]?.id;
  if (oldest === undefined) return;
  const { rowCount } = await link.query(
    `DELETE FROM cache_purges WHERE id IN (SELECT id FROM cache_purges WHERE id < $1 ORDER BY id LIMIT ${TIDIED_MAX})`,
    [oldest],
  );
  if (rowCount !== 0) await link.query("UPDATE cache_purges SET source = '', prefix = true WHERE id = $1", [oldest]);
}

/** What pictures wait for: it has sessions of its own (database/worker.ts). */
export const ownsAnswers: Answers = { owns };
export const purgeAnswers: Answers = { purge };
