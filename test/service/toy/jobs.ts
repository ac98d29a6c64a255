/** Jobs of the toy: counts the notes, once among all processes. */
import type { Jobs } from '../../../src/service/scheduler.ts';
import { openLink } from '../../../src/store/postgres/connection.ts';
import type { ToyValues } from './toy.ts';

const SQL = 'INSERT INTO note_counts SELECT now(), count(*) FROM notes RETURNING notes AS n';
export async function countNotes(dsn: string): Promise<number> {
  const link = await openLink(dsn);
  const { rows } = await link.query<{ n: string }>(SQL);
  await link.close();
  return Number(rows[0]!.n);
}
const run = ({ values }: { readonly values: ToyValues }) => countNotes(values.postgres.pgDsn ?? '');
export default (() => [{ name: 'count', every: 500, lock: true, run }]) satisfies Jobs<ToyValues>;
