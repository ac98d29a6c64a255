/** What `ringmain doctor` asks the database of a service: whether its schema can be made and kept up, and its jobs. */
import { error, type Finding, note, ok, warning } from '../../kernel/finding.ts';
import { openLink, type PostgresLink } from './connection.ts';
import { describeFault } from './fault.ts';

/** Server versions as Postgres counts them: 140000 is 14.0. */
const VERSION_MIN = 140_000;

/**
 * What `findings` sees in the database. Nothing without one, and nothing when it does not answer: that is a finding of
 * the outputs.
 */
export async function* askingDatabase(
  dsn: string | undefined,
  findings: (link: PostgresLink) => AsyncGenerator<Finding>,
): AsyncGenerator<Finding> {
  if (dsn === undefined) return;
  const link = await openLink(dsn, { applicationName: 'ringmain doctor' }).catch(() => undefined);
  if (link === undefined) return;
  try {
    yield* findings(link);
  } catch (cause) {
    yield error(describeFault(cause), 'Fix what the server reports.');
  } finally {
    await link.close();
  }
}

/** Returns whether the tables are there and the role's own. `table`: one of them; `option`: the name of the DSN. */
export async function* examineSchema(
  link: PostgresLink,
  table: string,
  option: string,
): AsyncGenerator<Finding, boolean> {
  const { rows } = await link.query<{ version: number; name: string; schema: string | null; may: boolean | null }>(
    `SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS name,
            current_schema() AS schema, has_schema_privilege(current_schema(), 'CREATE') AS may`,
  );
  const { version, name, schema, may } = rows[0]!;
  if (version < VERSION_MIN) yield error(`Postgres must be 14 or newer: found=${name}`, 'Upgrade the server.');
  if (schema === null)
    yield error('search_path names no schema that exists', 'CREATE SCHEMA, or correct search_path of the role.');
  else if (may !== true)
    yield error(
      `the role may not create tables in schema ${schema}, so no partition can be made`,
      `GRANT CREATE ON SCHEMA ${schema} TO the role of ${option}.`,
    );
  const owned = await link.query<{ owner: string; mine: boolean }>(
    `SELECT pg_get_userbyid(relowner)::text AS owner, pg_has_role(relowner, 'MEMBER') AS mine
       FROM pg_class WHERE oid = to_regclass($1)`,
    [table],
  );
  const [found] = owned.rows;
  if (found === undefined) yield note('the tables are not there yet: they are made at startup');
  else if (found.mine) yield ok('the role owns the tables, and may make partitions');
  else
    yield error(
      `the table ${table} belongs to ${found.owner}: the role can neither make its partitions nor change its schema`,
      `Connect as ${found.owner}, or GRANT ${found.owner} TO the role of ${option}.`,
    );
  return found?.mine === true;
}

/** Jobs of the service that fail. */
export async function* examineJobs(link: PostgresLink, service: string): AsyncGenerator<Finding> {
  const there = await link.query<{ there: boolean }>("SELECT to_regclass('ringmain_jobs') IS NOT NULL AS there");
  if (!there.rows[0]!.there) return;
  const { rows } = await link.query<{ job: string; failures: number; reason: string | null }>(
    'SELECT job, failures, reason FROM ringmain_jobs WHERE service = $1 AND failures > 0 ORDER BY job',
    [service],
  );
  for (const { job, failures, reason } of rows)
    yield warning(
      `job ${job} has failed ${failures} times in a row: ${reason ?? 'for an unknown reason'}`,
      'See RingmainJobFailing in deploy/RUNBOOK.md.',
    );
}
