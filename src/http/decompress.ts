/**
 * Decompress: gzip, deflate and br bodies, never into more than the largest body.
 *
 *   small   up to SMALL_BYTES packed, into up to SMALL_OUT_BYTES: at once, in the handler. A hop to another thread
 *           costs more than the work, and an answer in the handler keeps clients that pipeline alive
 *   large   in libuv's threads, JOBS_MAX at a time; QUEUE_MAX more wait (copied); any further body is refused. A flood
 *           of bombs costs a bounded number of threads and bytes, and no other request waits for it
 *
 * zlib stops as soon as its output passes the limit, so a bomb costs what the limit costs.
 */
import {
  brotliDecompress,
  brotliDecompressSync,
  gunzip,
  gunzipSync,
  inflate,
  inflateRaw,
  inflateRawSync,
  inflateSync,
} from 'node:zlib';

export type Encoding = 'identity' | 'gzip' | 'deflate' | 'br';

/**
 * UNPACKED_TOO_LARGE: past the limit. BAD_ENCODING: not what Content-Encoding says. BODY_MEMORY: too many bodies wait.
 */
export type UnpackFailure = 'UNPACKED_TOO_LARGE' | 'BAD_ENCODING' | 'BODY_MEMORY';

/** The encoding that a Content-Encoding header names; undefined for one that is not supported. */
export function encodingOf(header: string): Encoding | undefined {
  if (header === '') return 'identity';
  const word = header.trim().toLowerCase();
  switch (word) {
    case '':
    case 'identity':
      return 'identity';
    case 'gzip':
    case 'x-gzip':
      return 'gzip';
    case 'deflate':
    case 'br':
      return word;
    default:
      return undefined;
  }
}

const SMALL_BYTES = 16 * 1024;
/** Most that is unpacked at once, on this thread. */
export const SMALL_OUT_BYTES = 256 * 1024;
const JOBS_MAX = 2;
const QUEUE_MAX = 64;

type Done = (bytes: Buffer | UnpackFailure, atOnce: boolean) => void;

interface Job {
  readonly bytes: Buffer;
  readonly encoding: Encoding;
  readonly done: Done;
}

export class Unpacker {
  readonly #limit: number;
  #running = 0;
  readonly #queue: Job[] = [];
  #closed = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Calls `done` once: before it returns (`atOnce`), or later. `bytes` is borrowed for the call. */
  unpack(bytes: Buffer, encoding: Encoding, done: Done): void {
    if (bytes.length <= SMALL_BYTES) {
      const plain = unpackSync(bytes, encoding, Math.min(SMALL_OUT_BYTES, this.#limit));
      if (plain !== 'UNPACKED_TOO_LARGE' || this.#limit <= SMALL_OUT_BYTES) {
        done(plain, true);
        return;
      }
    }
    if (this.#queue.length >= QUEUE_MAX) {
      done('BODY_MEMORY', true);
      return;
    }
    this.#queue.push({ bytes: Buffer.from(bytes), encoding, done });
    this.#next();
  }

  /** Waiting jobs are never answered: their connections are being closed. */
  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
  }

  #next(): void {
    if (this.#running >= JOBS_MAX) return;
    const job = this.#queue.shift();
    if (job === undefined) return;
    this.#running += 1;
    const finished = (error: Error | null, plain: Buffer) => {
      this.#running -= 1;
      if (this.#closed) return;
      try {
        job.done(error === null ? plain : failureOf(error), false);
      } finally {
        this.#next();
      }
    };
    const options = { maxOutputLength: this.#limit };
    if (job.encoding === 'gzip') gunzip(job.bytes, options, finished);
    else if (job.encoding === 'br') brotliDecompress(job.bytes, options, finished);
    else if (isZlib(job.bytes)) inflate(job.bytes, options, finished);
    else inflateRaw(job.bytes, options, finished);
  }
}

function unpackSync(bytes: Buffer, encoding: Encoding, limit: number): Buffer | UnpackFailure {
  const options = { maxOutputLength: limit };
  try {
    if (encoding === 'gzip') return gunzipSync(bytes, options);
    if (encoding === 'br') return brotliDecompressSync(bytes, options);
    return isZlib(bytes) ? inflateSync(bytes, options) : inflateRawSync(bytes, options);
  } catch (error) {
    return failureOf(error as Error);
  }
}

function failureOf(error: Error): UnpackFailure {
  return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'UNPACKED_TOO_LARGE' : 'BAD_ENCODING';
}

/** By RFC 9110 "deflate" is zlib's format, but some clients leave out its two bytes of header. */
function isZlib(bytes: Buffer): boolean {
  return bytes.length >= 2 && (bytes[0]! & 0x0f) === 8 && ((bytes[0]! << 8) | bytes[1]!) % 31 === 0;
}
