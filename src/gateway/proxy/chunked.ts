/**
 * Chunked: reads a chunked body (RFC 9112, 7.1) as its pieces come. Extensions and trailers are read and dropped, and
 * both are bounded; every line must end with CR and LF.
 */
import { BadAnswer } from './answer-head.ts';

/** Of a line in front of a chunk; of all trailers. */
const LINE_BYTES_MAX = 1024;
const TRAILER_BYTES_MAX = 16 * 1024;
const SIZE = /^([0-9a-f]{1,12})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?$/i;
const TRAILER = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*$/;
const CR = 13;
const LF = 10;

const bad = (): BadAnswer => new BadAnswer('the body of the backend is not chunked as it says');

export class ChunkedBody {
  readonly #data: (bytes: Buffer, from: number, to: number) => void;
  #state: 'size' | 'data' | 'behind' | 'trailer' = 'size';
  /** Bytes of the chunk that are still to come. */
  #left = 0;
  #line = '';
  #trailerBytes = 0;

  /** `data`: called for each piece of the body, from and to in the bytes that were given to take(). */
  constructor(data: (bytes: Buffer, from: number, to: number) => void) {
    this.#data = data;
  }

  /** Reads bytes[from, to). Returns the offset behind the body when it ends there, else -1. Throws BadAnswer. */
  take(bytes: Buffer, from: number, to: number): number {
    let at = from;
    while (at < to) {
      if (this.#state === 'data') {
        const end = Math.min(to, at + this.#left);
        this.#left -= end - at;
        if (this.#left === 0) this.#state = 'behind';
        this.#data(bytes, at, end);
        at = end;
        continue;
      }
      const newline = bytes.subarray(at, to).indexOf(LF);
      const end = newline < 0 ? to : at + newline + 1;
      this.#line += bytes.toString('latin1', at, end);
      if (this.#line.length > (this.#state === 'trailer' ? TRAILER_BYTES_MAX : LINE_BYTES_MAX)) throw bad();
      at = end;
      if (newline >= 0 && this.#lineEnded()) return at;
    }
    return -1;
  }

  /** True: the body has ended. */
  #lineEnded(): boolean {
    const { length } = this.#line;
    if (length < 2 || this.#line.charCodeAt(length - 2) !== CR) throw bad();
    const line = this.#line.slice(0, -2);
    this.#line = '';
    if (this.#state === 'behind') {
      if (line !== '') throw bad();
      this.#state = 'size';
      return false;
    }
    if (this.#state === 'size') {
      const size = SIZE.exec(line);
      if (size === null) throw bad();
      this.#left = Number.parseInt(size[1]!, 16);
      this.#state = this.#left === 0 ? 'trailer' : 'data';
      return false;
    }
    if (line === '') return true;
    this.#trailerBytes += length;
    if (this.#trailerBytes > TRAILER_BYTES_MAX || !TRAILER.test(line)) throw bad();
    return false;
  }
}
