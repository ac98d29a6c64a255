/** Backends: what the administrators' routes and the command line do to the table; acceptors follow it (registry/). */

import { audit } from '../../../service/database/audit.ts';
import { serviceErrors } from '../../../service/errors.ts';
import type { PostgresLink } from '../../../store/postgres/connection.ts';
import { sqlState } from '../../../store/postgres/fault.ts';
import { inTransaction } from '../../../store/postgres/in-transaction.ts';
import { BACKENDS_MAX, backendUrl, isWeight, WEIGHT_MAX } from '../../balance/backend-option.ts';
import type { Actor, BackendChange, BackendView, NewBackend } from './contract.ts';

const NAME_MAX = 255;

const invalid = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });
const unknown = (id: number): Error => serviceErrors.RESOURCE_UNKNOWN({ what: 'backend', id: String(id) });

/** The URL in its one spelling. Throws INPUT_REFUSED for one that is more than scheme, host and port. */
export function backendUrlOf(text: string): string {
  const url = backendUrl(text);
  if (url !== undefined) return url;
  throw invalid(`url must be http://host:port, without a path: found=${text.slice(0, NAME_MAX)}`);
}

function weightOf(weight: number): number {
  if (isWeight(weight)) return weight;
  throw invalid(`weight must be a whole number from 0 to ${WEIGHT_MAX}: found=${weight}`);
}

function nameOf(name: string): string {
  if (name.length <= NAME_MAX && !/\p{Cc}/u.test(name)) return name;
  throw invalid(`name must be at most ${NAME_MAX} characters, none of them a control character`);
}

const VIEW = 'SELECT id, name, url, weight, draining, created_at FROM backends';

interface Row extends Omit<BackendView, 'id' | 'created_at'> {
  readonly [column: string]: unknown;
  readonly id: string;
  readonly created_at: Date;
}

const viewOf = (row: Row): BackendView => ({ ...row, id: Number(row.id), created_at: row.created_at.toISOString() });

async function find(link: PostgresLink, id: number): Promise<BackendView> {
  const { rows } = await link.query<Row>(`${VIEW} WHERE id = $1`, [id]);
  if (rows[0] === undefined) throw unknown(id);
  return viewOf(rows[0]);
}

export async function listBackends(link: PostgresLink): Promise<readonly BackendView[]> {
  const { rows } = await link.query<Row>(`${VIEW} ORDER BY id LIMIT ${BACKENDS_MAX}`);
  return rows.map(viewOf);
}

export async function addBackend(link: PostgresLink, actor: Actor, given: NewBackend): Promise<BackendView> {
  const url = backendUrlOf(given.url);
  const name = nameOf(given.name ?? new URL(url).host);
  const weight = weightOf(given.weight ?? 1);
  try {
    return await inTransaction(link, async () => {
      // Two that are added at once must not both be the last one there is room for.
      await link.query('LOCK TABLE backends IN SHARE ROW EXCLUSIVE MODE');
      const { rows: counted } = await link.query<{ backends: number }>(
        'SELECT count(*)::int AS backends FROM backends',
      );
      if (counted[0]!.backends >= BACKENDS_MAX)
        throw serviceErrors.RESOURCE_TAKEN({ reason: `there can be at most ${BACKENDS_MAX} backends` });
      const { rows } = await link.query<{ id: string }>(
        'INSERT INTO backends (name, url, weight) VALUES ($1, $2, $3) RETURNING id',
        [name, url, weight],
      );
      const id = Number(rows[0]!.id);
      await audit(link, actor, { action: 'backend_added', subject: `backend:${id}`, details: { url, weight } });
      return find(link, id);
    });
  } catch (error) {
    if (sqlState(error) === '23505')
      throw serviceErrors.RESOURCE_TAKEN({ reason: `there is a backend with this url: url=${url}` });
    throw error;
  }
}

/** Adds the backends of a configuration file, when there are none; from then on the table counts. Returns how many. */
export async function seedBackends(link: PostgresLink, given: readonly NewBackend[]): Promise<number> {
  const rows = given.map(({ url, name, weight }) => {
    const spelled = backendUrlOf(url);
    return { url: spelled, name: nameOf(name ?? new URL(spelled).host), weight: weightOf(weight ?? 1) };
  });
  return inTransaction(link, async () => {
    await link.query('LOCK TABLE backends IN SHARE ROW EXCLUSIVE MODE');
    const { rowCount } = await link.query(
      `INSERT INTO backends (name, url, weight) SELECT * FROM unnest($1::text[], $2::text[], $3::int[])
        WHERE NOT EXISTS (SELECT FROM backends)`,
      [rows.map(({ name }) => name), rows.map(({ url }) => url), rows.map(({ weight }) => weight)],
    );
    return rowCount ?? 0;
  });
}

export function changeBackend(
  link: PostgresLink,
  actor: Actor,
  id: number,
  change: BackendChange,
): Promise<BackendView> {
  const weight = change.weight === undefined ? undefined : weightOf(change.weight);
  const name = change.name === undefined ? undefined : nameOf(change.name);
  return inTransaction(link, async () => {
    const { rowCount } = await link.query(
      `UPDATE backends SET name = coalesce($2, name), weight = coalesce($3::int, weight),
         draining = coalesce($4::boolean, draining) WHERE id = $1`,
      [id, name, weight, change.draining],
    );
    if (rowCount === 0) throw unknown(id);
    await audit(link, actor, { action: 'backend_changed', subject: `backend:${id}`, details: { ...change } });
    return find(link, id);
  });
}

export function removeBackend(link: PostgresLink, actor: Actor, id: number): Promise<void> {
  return inTransaction(link, async () => {
    const { rows } = await link.query<{ url: string }>('DELETE FROM backends WHERE id = $1 RETURNING url', [id]);
    if (rows[0] === undefined) throw unknown(id);
    await audit(link, actor, { action: 'backend_removed', subject: `backend:${id}`, details: { url: rows[0].url } });
  });
}
