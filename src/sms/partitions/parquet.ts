/**
 * Parquet: writes rows of text to a file, batch by batch, and reads a file back. Both sides count the rows and make the
 * SHA-256 of what they say: each row is a JSON array of its texts, one a line.
 */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { fileWriter, ParquetWriter } from 'hyparquet-writer';
import type { Column, Value } from './columns.ts';

export type Row = readonly (string | null)[];

export interface Contents {
  readonly rows: number;
  /** 32 bytes. */
  readonly sha256: Buffer;
}

class Digest {
  readonly #hash = createHash('sha256');
  #rows = 0;

  add(row: Row): void {
    this.#hash.update(`${JSON.stringify(row)}\n`);
    this.#rows += 1;
  }

  end(): Contents {
    return { rows: this.#rows, sha256: this.#hash.digest() };
  }
}

/** Writes the file anew; when it resolves, the disk has it. Each batch becomes a row group. */
export async function writeParquet(
  file: string,
  columns: readonly Column[],
  batches: AsyncIterable<readonly Row[]>,
): Promise<Contents> {
  const digest = new Digest();
  const schema = [{ name: 'root', num_children: columns.length }, ...columns.map(({ element }) => element)];
  const writer = new ParquetWriter({ writer: fileWriter(file), schema, createdBy: 'ringmain' });
  for await (const rows of batches) {
    for (const row of rows) digest.add(row);
    const columnData = columns.map(({ name, value }, at) => ({
      name,
      data: rows.map((row) => (row[at] === null ? null : value(row[at]!))),
    }));
    await writer.write({ columnData, rowGroupSize: rows.length });
  }
  await writer.finish();
  const handle = await open(file, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  return digest.end();
}

/** What a file holds, read a row group at a time. Rejects when it is no Parquet file, or lacks a column. */
export async function readParquet(file: string, columns: readonly Pick<Column, 'name'>[]): Promise<Contents> {
  const digest = new Digest();
  const buffer = await asyncBufferFromFile(file);
  const metadata = await parquetMetadataAsync(buffer);
  let rowStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = rowStart + Number(num_rows);
    const rows = await parquetReadObjects({ file: buffer, metadata, rowStart, rowEnd, parsers });
    for (const row of rows) digest.add(columns.map(({ name }) => textOf(row[name] as Value)));
    rowStart = rowEnd;
  }
  return digest.end();
}

/** Times stay what they are in the file: micros. */
const parsers = { timestampFromMicroseconds: (micros: bigint): bigint => micros } as object;

const textOf = (value: Value): string | null => (value === null ? null : String(value));
