/** Worker of the toy: looks notes up. It dies with its connection and is started again. */
import { once } from 'node:events';
import type { Worker } from '../../../src/service/contract.ts';
import { openLink } from '../../../src/store/postgres/connection.ts';
import type { ToyValues } from './toy.ts';
export default {
  async run({ values, signal, ready, serve }) {
    const link = await openLink(values.postgres.pgDsn ?? '');
    serve(async (id) => (await link.query('SELECT id, text FROM notes WHERE id = $1', [id])).rows[0], 1);
    ready();
    link.onLost = () => process.exit(1);
    await once(signal, 'abort');
    await link.close();
  },
} satisfies Worker<ToyValues>;
