/**
 * Pepper: whether the keys of a service (table `api_keys`) were made under the pepper of this process. A wrong
 * KEY_PEPPER refuses every key, and nobody could tell why: so each key has the id of its pepper beside its digest. It
 * is 32 bits of an HMAC under a secret of more than 128 bits, which it does not help to guess.
 */
import { openLink, type PostgresLink } from '../store/postgres/connection.ts';
import { pepperedMac } from './api-key.ts';

export const pepperIdOf = (pepper: string): string => pepperedMac(pepper, 'pepper-id').toString('hex').slice(0, 8);

/** Keys that work, and how many of them were made under another pepper. A key of nobody knows which is not counted. */
async function foreignKeys(link: PostgresLink, pepper: string): Promise<number> {
  const { rows } = await link.query<{ foreign: number }>(
    `SELECT count(*)::int AS foreign FROM api_keys
      WHERE is_active AND pepper_id <> $1 AND (expires_at IS NULL OR expires_at > now())`,
    [pepperIdOf(pepper)],
  );
  return rows[0]!.foreign;
}

/** Why no key may be made under this pepper; undefined: it may. `revoke`: the command that revokes a key. */
export async function pepperProblem(link: PostgresLink, pepper: string, revoke: string): Promise<string | undefined> {
  const foreign = await foreignKeys(link, pepper);
  if (foreign === 0) return undefined;
  return (
    `KEY_PEPPER must be the one that the keys in the database were made under; this is another one: keys=${foreign}; if ` +
    `that one is lost, revoke them first (${revoke})`
  );
}

export interface PepperQuestion {
  readonly pepper: string | undefined;
  readonly dsn: string | undefined;
  readonly service: string;
}

/** What the start asks: a service with a wrong pepper would refuse every key. */
export async function pepperProblems({ pepper, dsn, service }: PepperQuestion): Promise<readonly string[]> {
  if (pepper === undefined || dsn === undefined) return [];
  const link = await openLink(dsn, { applicationName: `ringmain-${service}-start` });
  try {
    const problem = await pepperProblem(link, pepper, `ringmain ${service} key revoke`);
    return problem === undefined ? [] : [problem];
  } finally {
    await link.close();
  }
}
