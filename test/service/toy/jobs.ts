/** Jobs of the toy: counts the notes, once among all processes. */
import type { Jobs } from '../../../src/service/scheduler.ts';
import { openLink } from '../../../src/store/postgres/connection.ts';
import type { ToyValues } from './toy.ts';

export async function countNotes(dsn: string): Promise<number> {
  const link = await openLink(dsn);
  const { rows } = await link.query<{ n: string }>('INSERT INTO note_counts SELECT count(*) FROM notes RETURNING n');
  await link.close();
  return Number(rows[0]!.n);
}
export default (({ postgres }) => [
  { name: 'count', every: 500, lock: true, run: () => countNotes(postgres.pgDsn ?? '') },
]) satisfies Jobs<ToyValues>;
