/**
 * Salts of imports: one for each site that is being imported, so that an import that was interrupted goes on with the
 * visitors that it had. It is deleted with the end of the import; of one that nobody goes on with, when it is SALT_HOURS
 * old. Whoever has the log and the salt can tell which visitor was which address.
 */
import { randomBytes } from 'node:crypto';
import type { PostgresLink } from '../../store/postgres/connection.ts';

/** As long as the salt of a day is kept. */
const SALT_HOURS = 48;
const OLD = `begun_at < now() - make_interval(hours => ${SALT_HOURS})`;

type Sql = Pick<PostgresLink, 'query'>;

/** The salt of this import, or of the one that was interrupted before it. */
export async function importSalt(link: Sql, site: number): Promise<Buffer> {
  await deleteImportSalts(link);
  const { rows } = await link.query<{ salt: Buffer }>(
    `INSERT INTO imports AS i (site, salt) VALUES ($1, $2) ON CONFLICT (site) DO UPDATE SET salt = i.salt RETURNING salt`,
    [site, randomBytes(32)],
  );
  return rows[0]!.salt;
}

/** The import is complete. */
export async function endImport(link: Sql, site: number): Promise<void> {
  await link.query('DELETE FROM imports WHERE site = $1', [site]);
}

/** Deletes the salts of imports that nobody has gone on with. */
export async function deleteImportSalts(link: Sql): Promise<void> {
  await link.query(`DELETE FROM imports WHERE ${OLD}`);
}
