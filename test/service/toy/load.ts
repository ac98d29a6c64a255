/** Load of the toy: the notes of a batch, in the transaction that moves the cursor. */
import { jsonLength, jsonStart } from '../../../src/events/record.ts';
import type { MakeLoad } from '../../../src/sinks/postgres/load.ts';

const SQL = `INSERT INTO notes SELECT id, text FROM jsonb_to_recordset($1::jsonb) AS n(id text, text text)
  ON CONFLICT (id) DO UPDATE SET text = excluded.text, writes = notes.writes + 1`;
export default (() => () => ({
  async load(transaction, { buffer, offsets, count }) {
    const line = (at: number) => buffer.toString('utf8', jsonStart(at), jsonStart(at) + jsonLength(buffer, at));
    await transaction.query(SQL, [`[${[...offsets.subarray(0, count)].map(line).join(',')}]`]);
  },
})) satisfies MakeLoad;
