/** The end of a log that may be gigabytes long. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** The whole lines within the last `bytes` of a file, without their newlines. */
export function lastLines(path: string, bytes: number): string[] {
  const file = openSync(path, 'r');
  const buffer = Buffer.alloc(bytes);
  const size = fstatSync(file).size;
  const length = readSync(file, buffer, 0, bytes, Math.max(0, size - bytes));
  closeSync(file);
  const text = buffer.toString('latin1', 0, length);
  const from = size > bytes ? text.indexOf('\n') + 1 : 0;
  return text.slice(from).split('\n').slice(0, -1);
}
