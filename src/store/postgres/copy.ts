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
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
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

/**
 * Reads the rows of a `COPY ... TO STDOUT (FORMAT binary)` while they come. The fields of a row are Buffers, null for
 * NULL, and belong to the caller only until `onRow` returns: they are parts of what the socket gave. The socket is not
 * read while `onRow` works.
 */
export async function copyOut(link: PostgresLink, sql: string, onRow: (fields: CopyFields) => void): Promise<void> {
  const stream = copyTo(sql, { highWaterMark: COPY_OUT_BYTES });
  const rows = new CopyRows(onRow);
  const done = new Promise<void>((resolve, reject) => {
    let failure: { readonly error: unknown } | undefined;
    stream.on('error', reject);
    stream.once('end', () => (failure === undefined ? resolve() : reject(failure.error)));
    stream.on('data', (chunk: Buffer) => {
      // After a failure of the caller the rest is read and dropped, so that the session can be used again.
      if (failure !== undefined) return;
      try {
        rows.push(chunk);
      } catch (error) {
        failure = { error };
      }
    });
  });
  link.submit(stream);
  await link.within(done);
}

const COPY_OUT_BYTES = 1 << 20;

export type CopyFields = readonly (Buffer | null)[];

/** Cuts the bytes of a binary COPY into rows; every split of them will do. */
export class CopyRows {
  readonly #onRow: (fields: CopyFields) => void;
  readonly #parts: Buffer[] = [];
  #bytes = 0;
  /** No row can be complete before this many bytes are there. */
  #need = copyHeader.length;
  #begun = false;
  #fields: (Buffer | null)[] = [];

  constructor(onRow: (fields: CopyFields) => void) {
    this.#onRow = onRow;
  }

  push(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < this.#need) return;
    const bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts, this.#bytes);
    let at = 0;
    if (!this.#begun) {
      // Flags and the length of the extension are 0 in every version there is.
      if (bytes.compare(copyHeader, 0, copyHeader.length, 0, copyHeader.length) !== 0)
        throw new Error('a binary COPY must begin with its header');
      this.#begun = true;
      at = copyHeader.length;
    }
    for (;;) {
      const next = this.#row(bytes, at);
      if (next < 0) break;
      at = next;
    }
    this.#parts.length = 0;
    this.#bytes = bytes.length - at;
    if (this.#bytes > 0) this.#parts.push(bytes.subarray(at));
  }

  /** Where the row that begins at `start` ends; -1 when it has not come completely. */
  #row(bytes: Buffer, start: number): number {
    const { length } = bytes;
    this.#need = 2;
    if (length - start < 2) return -1;
    const count = bytes.readInt16BE(start);
    if (count < 0) return length; // the trailer
    if (this.#fields.length !== count) this.#fields = new Array<Buffer | null>(count).fill(null);
    let at = start + 2;
    for (let i = 0; i < count; i++) {
      this.#need = at + 4 - start;
      if (length < at + 4) return -1;
      const size = bytes.readInt32BE(at);
      at += 4;
      if (size < 0) {
        this.#fields[i] = null;
        continue;
      }
      this.#need = at + size - start;
      if (length < at + size) return -1;
      this.#fields[i] = bytes.subarray(at, at + size);
      at += size;
    }
    this.#onRow(this.#fields);
    return at;
  }
}
