/**
 * Slow bodies: a client that reads a large picture slowly must not keep all of it in memory.
 *
 *   in the memory tier  the bytes are shared with everybody who wants the picture, and the tier bounds them
 *   outside of it       the entry was evicted, or is not kept. The rest comes from an open file, piece by piece
 *                       (DiskTier.bodyOf); all slow clients of one entry share the file
 *   no file             the disk is full or fails: the bytes stay in memory, BYTES_MAX for all such pictures; while
 *                       files are being opened, OPENING_BYTES_MAX. Beyond it the client's connection is closed
 */
import type { BodyKeep } from '../front/exchange.ts';
import { PIECE_BYTES } from './collect.ts';
import type { BodyFile, DiskTier } from './disk.ts';
import type { Entry } from './entry.ts';

/** Clients may hold smaller pictures as they are. */
export const SLOW_BYTES_MIN = 256 * 1024;
/** Of an acceptor: pictures in memory outside the tier, for slow clients alone. */
const BYTES_MAX = 32 * 1024 * 1024;
/** The same while their files are being opened, which takes some ms on a disk that does not hang. */
const OPENING_BYTES_MAX = 256 * 1024 * 1024;

export class SlowBodies {
  readonly #disk: Pick<DiskTier, 'bodyOf'>;
  readonly #inMemory: (entry: Entry) => boolean;
  /** Weak: as a key the entry would be held, with its bytes. */
  readonly #bodies = new WeakMap<Entry, SlowBody>();
  #bytes = 0;

  /** `inMemory`: whether the memory tier has the entry. */
  constructor(disk: Pick<DiskTier, 'bodyOf'>, inMemory: (entry: Entry) => boolean) {
    this.#disk = disk;
    this.#inMemory = inMemory;
  }

  /** For a client that reads these bytes of the entry slowly. */
  keep(entry: Entry, from: number, to: number): BodyKeep {
    let body = this.#bodies.get(entry);
    if (body === undefined || body.unused) {
      body = new SlowBody(entry);
      this.#bodies.set(entry, body);
      if (!this.#inMemory(entry)) this.#move(body, entry);
    }
    return body.reader(from, to);
  }

  /** The memory tier has let go of it. */
  left(entry: Entry): void {
    const body = this.#bodies.get(entry);
    if (body !== undefined && !body.unused) this.#move(body, entry);
  }

  #move(body: SlowBody, entry: Entry): void {
    const bytes = entry.body.length;
    // One is always let in: it may be larger than a bound.
    const others = this.#bytes;
    if (others > 0 && others + bytes > OPENING_BYTES_MAX) {
      body.lose();
      return;
    }
    this.#bytes += bytes;
    const free = () => {
      this.#bytes -= bytes;
    };
    this.#disk.bodyOf(entry).then(
      (file) => {
        free();
        body.moved(file);
      },
      () => {
        if (this.#bytes <= Math.max(bytes, BYTES_MAX)) {
          body.whenUnused(free);
          return;
        }
        free();
        body.lose();
      },
    );
  }
}

class SlowBody {
  /** Undefined: it is in the file, or lost. */
  #entry: Entry | undefined;
  #file: BodyFile | undefined;
  #readers = 0;
  /** Nobody reads it any more. */
  unused = false;
  #whenUnused: (() => void) | undefined;

  constructor(entry: Entry) {
    this.#entry = entry;
  }

  reader(from: number, to: number): BodyKeep {
    this.#readers++;
    let open = true;
    return {
      read: (at) => {
        if (this.#entry !== undefined) return this.#entry.body.subarray(from + at, to);
        const file = this.#file;
        if (file === undefined) return Promise.reject(new Error('the picture is kept nowhere any more'));
        return file.read(from + at, Math.min(PIECE_BYTES, to - from - at));
      },
      release: () => {
        if (!open) return;
        open = false;
        this.#readers--;
        if (this.#readers > 0) return;
        this.unused = true;
        this.#whenUnused?.();
        this.#entry = undefined;
        this.#file?.close();
      },
    };
  }

  moved(file: BodyFile): void {
    this.#entry = undefined;
    if (this.unused) file.close();
    else this.#file = file;
  }

  lose(): void {
    this.#entry = undefined;
  }

  whenUnused(tell: () => void): void {
    if (this.unused) tell();
    else this.#whenUnused = tell;
  }
}
