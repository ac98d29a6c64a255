/**
 * Disk tier: a file per entry, for all threads and for the next life of the process.
 *
 *   CACHE_DIR/<hh>/<hash of the source>-<hash of the key>    hh: the first two digits
 *   'RMC1' | u32 CRC-32 of what follows | u32 bytes of the meta data | u32 bytes of the body | meta as JSON | body
 *
 * A file is written under another name and renamed, without a sync: length and checksum are looked at when it is read,
 * so what a crash leaves is a miss. Its time of change is that of its last use, by which the janitor evicts.
 */
import { hash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { DiskIndex } from './disk-index.ts';
import { Entry, type EntryMeta } from './entry.ts';
import type { Flights } from './flights.ts';

const MAGIC = Buffer.from('RMC1');
const HEAD_BYTES = 16;
/** Paths and headers of backends have bounds far below it. */
const META_BYTES_MAX = 1 << 20;
export const TEMPORARY = 'tmp';
/** Files without a name take this part of the room of the tier at most, beside it, at each acceptor. */
const NAMELESS_SHARE = 8;

/** Sources whose variants wait for being removed. */
const REMOVALS_MAX = 10_000;
const HASH_BYTES = 16;
/** The hash of a key, by which flights and the disk tier know it. */
export const hashOf = (key: string): Buffer => hash('sha256', key, 'buffer').subarray(0, HASH_BYTES);
/** The hash in the name of a file; undefined: it is no file of the tier. */
export function hashIn(name: string): Buffer | undefined {
  const [, hex] = /^[0-9a-f]{32}-([0-9a-f]{32})$/.exec(name) ?? [];
  return hex === undefined ? undefined : Buffer.from(hex, 'hex');
}

const sourcePart = (source: string): string => hashOf(source).toString('hex');

export function encodeEntry({ meta, body }: Entry): Buffer {
  const text = Buffer.from(JSON.stringify(meta));
  const file = Buffer.allocUnsafe(HEAD_BYTES + text.length + body.length);
  MAGIC.copy(file);
  file.writeUInt32LE(text.length, 8);
  file.writeUInt32LE(body.length, 12);
  text.copy(file, HEAD_BYTES);
  body.copy(file, HEAD_BYTES + text.length);
  file.writeUInt32LE(crc32(file.subarray(8)), 4);
  return file;
}

/** Undefined: it is not whole. */
export function decodeEntry(file: Buffer): Entry | undefined {
  if (file.length < HEAD_BYTES || !file.subarray(0, 4).equals(MAGIC)) return undefined;
  const [metaBytes, bodyBytes] = [file.readUInt32LE(8), file.readUInt32LE(12)];
  if (file.length !== HEAD_BYTES + metaBytes + bodyBytes || crc32(file.subarray(8)) !== file.readUInt32LE(4))
    return undefined;
  const meta = JSON.parse(file.toString('utf8', HEAD_BYTES, HEAD_BYTES + metaBytes)) as EntryMeta;
  return new Entry(meta, file.subarray(HEAD_BYTES + metaBytes));
}

/** A file without a name that is being written. */
export interface Spool {
  /** Rejects when the disk is full, or such files take too much of it. */
  write(piece: Uint8Array): Promise<void>;
  /** All of it. Nothing is written any more. */
  file(): BodyFile;
  drop(): void;
}

/** The body of an entry in an open file, which outlasts its name. */
export interface BodyFile {
  read(from: number, bytes: number): Promise<Uint8Array>;
  close(): void;
}

export class DiskTier {
  readonly #folder: string;
  readonly #kibMax: number;
  /** In files without a name. */
  #namelessBytes = 0;
  readonly #flights: Flights;
  readonly #index: DiskIndex;
  readonly #failed: (error: unknown) => void;
  readonly #now: () => number;
  #removals = 0;
  #removed: Promise<void> = Promise.resolve();

  /** `failed`: told of a disk that cannot be written; the cache works on in memory. */
  constructor(
    parts: {
      readonly flights: Flights;
      readonly index: DiskIndex;
      readonly failed: (error: unknown) => void;
      readonly now: () => number;
    },
    options: { readonly folder: string; readonly bytesMax: number },
  ) {
    this.#folder = options.folder;
    this.#kibMax = Math.floor(options.bytesMax / 1024);
    this.#flights = parts.flights;
    this.#index = parts.index;
    this.#failed = parts.failed;
    this.#now = parts.now;
  }

  /** False: a look for the entry of this hash would be in vain. */
  may(hash: Uint8Array): boolean {
    return this.#index.may(hash);
  }

  async read(key: string, source: string): Promise<Entry | undefined> {
    const path = this.#pathOf(key, source);
    let file: Buffer;
    try {
      file = await readFile(path);
    } catch {
      return undefined;
    }
    const entry = decodeEntry(file);
    if (entry === undefined || entry.meta.key !== key) {
      await this.#remove(path);
      return undefined;
    }
    const used = this.#now() / 1000;
    void utimes(path, used, used).catch(() => undefined);
    return entry;
  }

  async write(entry: Entry): Promise<void> {
    // The janitor comes within a second; until then it grows by no more than an eighth.
    if (this.#flights.diskKib > this.#kibMax + (this.#kibMax >> 3)) return;
    const path = this.#pathOf(entry.meta.key, entry.meta.source);
    const temporary = join(this.#folder, TEMPORARY, randomUUID());
    try {
      const file = encodeEntry(entry);
      this.#flights.addDisk(Math.ceil(file.length / 1024));
      await writeFile(temporary, file).catch(async () => {
        await mkdir(join(this.#folder, TEMPORARY), { recursive: true });
        await writeFile(temporary, file);
      });
      await rename(temporary, path).catch(async () => {
        await mkdir(join(path, '..'), { recursive: true });
        await rename(temporary, path);
      });
      this.#index.add(hashOf(entry.meta.key));
    } catch (error) {
      this.#failed(error);
      await this.#remove(temporary);
    }
  }

  /** For those who read slowly what memory does not keep: the file of the tier, else one without a name. */
  async bodyOf(entry: Entry): Promise<BodyFile> {
    return (await this.#openBody(entry)) ?? this.#nameless(entry.body);
  }

  /** Undefined: the tier does not have it, or has another one by now. */
  async #openBody({ meta, body }: Entry): Promise<BodyFile | undefined> {
    const file = await open(this.#pathOf(meta.key, meta.source)).catch(() => undefined);
    if (file === undefined) return undefined;
    try {
      const head = await readExactly(file, 0, HEAD_BYTES);
      const metaBytes = Math.min(head.readUInt32LE(8), META_BYTES_MAX);
      const there = JSON.parse((await readExactly(file, HEAD_BYTES, metaBytes)).toString()) as EntryMeta;
      if (there.etag === meta.etag && head.readUInt32LE(12) === body.length)
        return bodyFile(file, HEAD_BYTES + metaBytes, () => undefined);
    } catch {
      // It is not whole.
    }
    await file.close();
    return undefined;
  }

  async #nameless(body: Buffer): Promise<BodyFile> {
    const spool = await this.spool();
    try {
      await spool.write(body);
      return spool.file();
    } catch (error) {
      spool.drop();
      throw error;
    }
  }

  /** Opens a file without a name, which is empty. */
  async spool(): Promise<Spool> {
    const temporary = join(this.#folder, TEMPORARY, randomUUID());
    let file: FileHandle;
    try {
      await mkdir(join(this.#folder, TEMPORARY), { recursive: true });
      file = await open(temporary, 'wx+');
      await rm(temporary, { force: true });
    } catch (error) {
      this.#failed(error);
      throw error;
    }
    let bytes = 0;
    const whole = bodyFile(file, 0, () => {
      this.#namelessBytes -= bytes;
      bytes = 0;
    });
    return {
      write: async (piece) => {
        if ((this.#namelessBytes + piece.length) / 1024 > this.#kibMax / NAMELESS_SHARE)
          throw new Error('files without a name must leave room on the disk');
        this.#namelessBytes += piece.length;
        bytes += piece.length;
        await file.writeFile(piece);
      },
      file: () => whole,
      drop: () => whole.close(),
    };
  }

  remove(key: string, source: string): Promise<void> {
    return this.#remove(this.#pathOf(key, source));
  }

  /**
   * Removes every variant of a source, one source after the other: thousands may be purged at once. Beyond
   * REMOVALS_MAX the files stay until they are judged by the rule, or evicted.
   */
  removeSource(source: string): Promise<void> {
    if (this.#removals >= REMOVALS_MAX) return Promise.resolve();
    this.#removals += 1;
    this.#removed = this.#removed.then(async () => {
      await this.#removeVariants(source);
      this.#removals -= 1;
    });
    return this.#removed;
  }

  async #removeVariants(source: string): Promise<void> {
    const part = sourcePart(source);
    const folder = join(this.#folder, part.slice(0, 2));
    const names = await readdir(folder).catch(() => []);
    await Promise.all(names.filter((name) => name.startsWith(part)).map((name) => this.#remove(join(folder, name))));
  }

  async #remove(path: string): Promise<void> {
    await rm(path, { force: true }).catch(this.#failed);
  }

  #pathOf(key: string, source: string): string {
    const part = sourcePart(source);
    return join(this.#folder, part.slice(0, 2), `${part}-${hashOf(key).toString('hex')}`);
  }
}

async function readExactly(file: FileHandle, from: number, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.allocUnsafeSlow(bytes), 0, bytes, from);
  if (bytesRead < bytes) throw new Error(`a file of the cache must have ${from + bytes} bytes`);
  return buffer;
}

const bodyFile = (file: FileHandle, begin: number, closed: () => void): BodyFile => ({
  read: (from, bytes) => readExactly(file, begin + from, bytes),
  close() {
    closed();
    // Waits for reads that are under way.
    void file.close().catch(() => undefined);
  },
});
