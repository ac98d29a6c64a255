/**
 * Dead letters: events that a target refuses for good, kept as NDJSON so that a person can look at them and send them
 * again. dead-letter-format.ts has the files and the identity of a letter; this is their writer.
 *
 * Always true:
 *   - append() returns after the lines are synced (file, and directory for a new file), so the commit that passes
 *     an event never runs ahead of its letter.
 *   - A letter is written once, also when a crash repeats the batch: the keys at or above each strand's cursor are read
 *     back from the files before the first letter of a life. Keys below the cursor are forgotten, so memory is bounded
 *     by the letters of the batches that are in flight.
 *   - A line is whole or it is the torn tail of a crash: the tail is closed with a newline and readers skip it.
 *   - Lines are appended (O_APPEND), each batch by one write: two processes that share the directory keep each other's
 *     letters whole. A file that was removed or moved meanwhile is made anew, so that no letter goes into a file
 *     without a name.
 * Calls are synchronous: a letter is rare, and the thread that writes it may not go on before it is safe.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { makeDirectory } from '../kernel/directory.ts';
import { type DeadLetter, deadLetterFiles, eventHash, fileNumber, lineOf, readLetters } from './dead-letter-format.ts';

export interface DeadLetterOptions {
  readonly directory: string;
  /** Name of the sink; lower case letters, digits and dashes. It begins the file's name. */
  readonly sink: string;
  readonly logId: string;
  /** The next file is begun when this one is larger. Bounds what the first letter of a life has to read back. */
  readonly fileBytesMax?: number;
  readonly now?: () => number;
}

const FILE_BYTES_MAX = 64 * 1024 * 1024;
const NEWLINE = 10;
const TRIES = 3;

/** Strand -> position -> hashes of the events that have a letter there. */
type Keys = Map<string, Map<number, Set<string>>>;

/** The writer of one sink's letters. One per sink and directory; readers need no permission of it. */
export class DeadLetterFile {
  readonly #options: Required<DeadLetterOptions>;
  /** Lane -> the sink's cursor: letters below it belong to batches that were committed. */
  readonly #cursors = new Map<string, number>();
  /** Letters at or above the cursors. Undefined until they are asked for. */
  #written: Keys | undefined;
  #wentBack = false;
  #fd = -1;
  #path = '';
  #number = 0;

  constructor(options: DeadLetterOptions) {
    if (!/^[a-z0-9-]+$/.test(options.sink))
      throw new Error(`a sink's name is lower case letters: sink=${options.sink}`);
    this.#options = { fileBytesMax: FILE_BYTES_MAX, now: Date.now, ...options };
  }

  /**
   * Tells the output's cursor of a strand, at the start and after each commit. When a cursor goes back (a database
   * failed over to an older state), the next letter reads its keys again, so that a record refused twice is listed
   * once.
   */
  passed(lane: string, position: number): void {
    const before = this.#cursors.get(lane);
    this.#cursors.set(lane, position);
    if (before !== undefined && position < before) {
      this.#written = undefined;
      this.#wentBack = true;
      return;
    }
    const keys = this.#written?.get(lane);
    if (keys === undefined) return;
    for (const key of keys.keys()) if (key < position) keys.delete(key);
    if (keys.size === 0) this.#written?.delete(lane);
  }

  /**
   * Writes and syncs the letters that are not in the files yet, and returns their number. Throws when the disk does.
   */
  append(letters: readonly DeadLetter[]): number {
    if (letters.length === 0) return 0;
    this.#open();
    this.#written ??= this.#readKeys();
    const { sink, logId: log } = this.#options;
    const lines: Buffer[] = [];
    const fresh: Keys = new Map();
    const time = new Date(this.#options.now()).toISOString();
    for (const letter of letters) {
      const { lane, position } = letter;
      const hash = eventHash(letter.event);
      if (hasKey(fresh, lane, position, hash) || hasKey(this.#written, lane, position, hash)) continue;
      addKey(fresh, lane, position, hash);
      lines.push(lineOf(letter, { sink, log }, time));
    }
    if (lines.length === 0) return 0;
    const bytes = Buffer.concat(lines);
    // An operator may remove the file at this very moment; nobody does that again and again.
    for (let tries = 0; tries < TRIES && !this.#write(bytes); tries += 1);
    for (const [lane, positions] of fresh)
      for (const [position, hashes] of positions)
        for (const hash of hashes) addKey(this.#written, lane, position, hash);
    return lines.length;
  }

  /**
   * How many records of a strand at [from, to) have a letter. A target that keeps its own cursor may have passed them
   * in a transaction that the checkpoint does not know yet.
   */
  count(lane: string, from: number, to: number): number {
    const { directory, sink } = this.#options;
    if (deadLetterFiles(directory, sink).length === 0) return 0;
    if ((this.#cursors.get(lane) ?? 0) > from) this.passed(lane, from);
    this.#open();
    this.#written ??= this.#readKeys();
    let count = 0;
    for (const position of this.#written.get(lane)?.keys() ?? []) if (position >= from && position < to) count += 1;
    return count;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  /** Returns whether the lines stand in a file that is there. */
  #write(bytes: Buffer): boolean {
    if (this.#fd >= 0 && !this.#isNamed()) this.close();
    this.#open();
    if (fstatSync(this.#fd).size >= this.#options.fileBytesMax) {
      this.close();
      this.#open(this.#number + 1);
    }
    const { size } = fstatSync(this.#fd);
    let at = 0;
    try {
      while (at < bytes.length) at += writeSync(this.#fd, bytes, at, bytes.length - at);
      fsyncSync(this.#fd);
    } catch (error) {
      // Half a line must not run into the next one. If cutting fails too, the next open closes the torn tail.
      try {
        if (fstatSync(this.#fd).size === size + at) ftruncateSync(this.#fd, size);
      } finally {
        this.close();
      }
      throw error;
    }
    return fstatSync(this.#fd).nlink > 0;
  }

  /** Whether the open file still has its name: somebody may have removed it, or moved it away. */
  #isNamed(): boolean {
    const named = statSync(this.#path, { throwIfNoEntry: false });
    const { dev, ino } = fstatSync(this.#fd);
    return named?.ino === ino && named.dev === dev;
  }

  #open(number?: number): void {
    if (this.#fd >= 0) return;
    const { directory, sink } = this.#options;
    makeDirectory(directory, 0o700);
    this.#number = number ?? Math.max(1, ...deadLetterFiles(directory, sink).map(fileNumber));
    this.#path = join(directory, `${sink}-${String(this.#number).padStart(6, '0')}.ndjson`);
    this.#fd = openSync(this.#path, 'a+', 0o600);
    const { size } = fstatSync(this.#fd);
    const last = Buffer.alloc(1);
    if (size > 0 && readSync(this.#fd, last, 0, 1, size - 1) === 1 && last[0] !== NEWLINE) writeSync(this.#fd, '\n');
    // A process that was killed between write and sync has left letters that only the page cache holds.
    fsyncSync(this.#fd);
    const folder = openSync(directory, 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }

  /**
   * The keys of this log at or above the cursors, newest file first, until a file holds none. After a cursor went back
   * all files are read: then another lane's letters may fill the newest ones.
   */
  #readKeys(): Keys {
    const { directory, sink, logId } = this.#options;
    const keys: Keys = new Map();
    const lives = [...this.#cursors.keys()].map(lifeOf).filter((life) => life !== undefined);
    const oldest = lives.length > 0 ? Math.min(...lives) : 0;
    for (const path of deadLetterFiles(directory, sink).toReversed()) {
      let found = 0;
      let lines = 0;
      for (const { letter, line } of readLetters(path)) {
        lines += 1;
        if (letter?.log !== logId) continue;
        const { lane, position } = letter;
        // Lanes of lives before those that have a cursor are passed altogether.
        const cursor = this.#cursors.get(lane) ?? ((lifeOf(lane) ?? oldest) < oldest ? Number.POSITIVE_INFINITY : 0);
        if (position < cursor) continue;
        addKey(keys, lane, position, eventHash(line));
        found += 1;
      }
      if (found === 0 && lines > 0 && !this.#wentBack) break;
    }
    return keys;
  }
}

/** The life of a lane; undefined for a partition of a topic. */
function lifeOf(lane: string): number | undefined {
  const life = /^(\d+)-\d+(?:-[0-9a-f]+)?$/.exec(lane)?.[1];
  return life === undefined ? undefined : Number(life);
}

function hasKey(keys: Keys, lane: string, position: number, hash: string): boolean {
  return keys.get(lane)?.get(position)?.has(hash) ?? false;
}

function addKey(keys: Keys, lane: string, position: number, hash: string): void {
  const positions = keys.get(lane) ?? new Map<number, Set<string>>();
  keys.set(lane, positions.set(position, (positions.get(position) ?? new Set()).add(hash)));
}
