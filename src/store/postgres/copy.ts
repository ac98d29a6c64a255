/**
 * Binary COPY: the fastest way into a table. The server parses no text, and a batch is one message.
 *
 *   header   "PGCOPY\n\xff\r\n\0", flags u32 = 0, extension length u32 = 0
 *   row      field count i16, then per field its length i32 and its bytes, all big-endian
 *   trailer  i16 = -1
 *   uuid 16 bytes | timestamptz i64 microseconds since 2000-01-01 | jsonb version byte 1, then the JSON text
 *
 * The buffer of a COPY belongs to the socket until copyIn() has resolved: then the server has read every byte. After a
 * failure some bytes may still stand in the socket's queue, so the buffer must not be used again. (A buffer that was
 * reused too early sent bytes of another batch, and ON CONFLICT hid it.)
 */
import { from as copyFrom } from 'pg-copy-streams';
import type { PostgresLink } from './connection.ts';

export const copyHeader = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
export const copyTrailer = Buffer.from([0xff, 0xff]);

/** 2000-01-01 in ms since 1970: where Postgres counts from. */
export const POSTGRES_EPOCH_MS = 946_684_800_000;

/**
 * Sends a finished COPY. `sql` may hold statements before the COPY ("BEGIN; COPY ..."), so that a transaction begins in
 * the same round trip. Resolves with the number of rows that the server has taken.
 */
export function copyIn(link: PostgresLink, sql: string, bytes: Buffer): Promise<number> {
  const stream = copyFrom(sql);
  const done = new Promise<number>((resolve, reject) => {
    // The listener stays: a stream whose COPY was refused raises a second error when its socket drains.
    stream.on('error', reject);
    stream.once('finish', () => resolve(stream.rowCount));
  });
  link.submit(stream);
  stream.end(bytes);
  return link.within(done);
}
