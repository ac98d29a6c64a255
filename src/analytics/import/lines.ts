/**
 * Lines of files: plain or gzip (by its first bytes, several members too), `-` is standard input. Memory is bounded by
 * one chunk and one line; a line that is longer than a bound is given as undefined.
 */
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { serviceErrors } from '../../service/errors.ts';

/** Access logs have lines of some hundred bytes; servers refuse requests beyond 8 to 32 KiB. */
export const LINE_BYTES_MAX = 256 * 1024;
/** What is said of a longer one. */
export const TOO_LONG = 'the line must not be that long';

export interface Line {
  /** From 1. */
  readonly number: number;
  /** Undefined: it is longer than LINE_BYTES_MAX. */
  readonly text: string | undefined;
  /** The last line of a file that is not packed, without its end: who writes it may not be done with it. */
  readonly open: boolean;
}

/** `tellBytes` is called with how much of the file itself was read so far. */
export async function* linesOf(file: string, tellBytes: (bytes: number) => void): AsyncGenerator<Line> {
  const chunks = read(file, tellBytes);
  const first = await chunks.next();
  if (first.done === true) return;
  const whole = async function* () {
    yield first.value;
    yield* chunks;
  };
  if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) {
    yield* split(whole(), file !== '-');
    return;
  }
  const unpacked = createGunzip();
  const feeding = pipeline(whole(), unpacked);
  // Its failure is also that of the stream that is read below.
  feeding.catch(() => {});
  try {
    yield* split(unpacked, false);
    await feeding;
  } catch (error) {
    // A file that ends too early, or is no gzip after all.
    if (!(error as NodeJS.ErrnoException).code?.startsWith('Z_')) throw error;
    throw serviceErrors.FILE_BROKEN({ path: file, reason: (error as Error).message });
  }
}

async function* read(file: string, tellBytes: (bytes: number) => void): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of (file === '-' ? process.stdin : createReadStream(file)) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    tellBytes(bytes);
    yield chunk;
  }
}

async function* split(stream: AsyncIterable<Buffer>, grows: boolean): AsyncGenerator<Line> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  let number = 0;
  const keep = (piece: Buffer) => {
    restBytes += piece.length;
    if (restBytes <= LINE_BYTES_MAX) rest.push(piece);
  };
  const take = (open: boolean): Line => {
    number += 1;
    const text = restBytes > LINE_BYTES_MAX ? undefined : Buffer.concat(rest).toString('utf8').replace(/\r$/, '');
    rest = [];
    restBytes = 0;
    return { number, text, open };
  };
  for await (const chunk of stream) {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      keep(chunk.subarray(from, at));
      yield take(false);
      from = at + 1;
    }
    keep(chunk.subarray(from));
  }
  if (restBytes > 0) yield take(grows);
}
