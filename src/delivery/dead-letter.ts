/**
 * Dead letters: events that a target refuses for good, kept as NDJSON so that a person can look at them and send them
 * again. One directory, one growing list of files per sink:
 *
 *   <dir>/<sink>-000001.ndjson   one line per letter, in the order of refusal:
 *   {"sink":"postgres","log":"<log id>","lane":"3-0","position":8192,"time":"...Z","reason":"...","event":{...}}
 *   A record with a key of its own has "key" too, or "key64" in base64. Of a topic, "lane" is "topic/partition", and a
 *   value that is no JSON stands in "event" as a string.
 *
 * Always true:
 *   - append() returns after the lines are synced (file, and directory for a new file), so the commit that passes
 *     an event never runs ahead of its letter.
 *   - One (log, lane, position) is written once, also when a crash repeats the batch: the keys at or above each lane's
 *     cursor are read back from the files before the first letter of a life. Keys below the cursor are forgotten, so
 *     memory is bounded by the letters of the batches that are in flight.
 *   - A line is whole or it is the torn tail of a crash: the tail is closed with a newline and readers skip it.
 * Calls are synchronous: a letter is rare, and the thread that writes it may not go on before it is safe.
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { makeDirectory } from '../kernel/directory.ts';

/** One refused event. `event` is the JSON line without its newline; it is copied before append() returns. */
export interface DeadLetter {
  readonly lane: string;
  readonly position: number;
  readonly reason: string;
  readonly event: Uint8Array;
  /** The record's own key, if it has one. */
  readonly key?: Uint8Array;
}

/** A letter as a reader gets it back. */
export interface StoredLetter {
  readonly sink: string;
  readonly log: string;
  readonly lane: string;
  readonly position: number;
  readonly time: string;
  readonly reason: string;
  readonly event: unknown;
  /** The record's own key; in base64 when it is no text. */
  readonly key?: string;
  readonly key64?: string;
}

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
const REASON_LENGTH_MAX = 1000;
const READ_BYTES = 1024 * 1024;
const NEWLINE = 10;
const EVENT_MARK = ',"event":';

/** The writer of one sink's letters. One per sink and directory; readers need no permission of it. */
export class DeadLetterFile {
  readonly #options: Required<DeadLetterOptions>;
  /** Lane -> the sink's cursor: letters below it belong to batches that were committed. */
  readonly #cursors = new Map<string, number>();
  /** Lane -> positions at or above the cursor that have a letter. Undefined until the first letter needs it. */
  #written: Map<string, Set<number>> | undefined;
  #wentBack = false;
  #fd = -1;
  #length = 0;
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
    for (const key of keys) if (key < position) keys.delete(key);
    if (keys.size === 0) this.#written?.delete(lane);
  }

  /**
   * Writes and syncs the letters that are not in the files yet, and returns their number. Throws when the disk does.
   */
  append(letters: readonly DeadLetter[]): number {
    if (letters.length === 0) return 0;
    this.#open();
    this.#written ??= this.#readKeys();
    const lines: Buffer[] = [];
    const fresh: DeadLetter[] = [];
    const seen = new Set<string>();
    const time = new Date(this.#options.now()).toISOString();
    for (const letter of letters) {
      const key = `${letter.lane}@${letter.position}`;
      if (seen.has(key) || this.#written.get(letter.lane)?.has(letter.position)) continue;
      seen.add(key);
      fresh.push(letter);
      lines.push(this.#line(letter, time));
    }
    if (fresh.length === 0) return 0;
    this.#write(Buffer.concat(lines));
    for (const { lane, position } of fresh) addKey(this.#written, lane, position);
    return fresh.length;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #line(letter: DeadLetter, time: string): Buffer {
    const { sink, logId } = this.#options;
    const head = { sink, log: logId, lane: letter.lane, position: letter.position, time };
    const reason = letter.reason.slice(0, REASON_LENGTH_MAX);
    const event = Buffer.from(letter.event);
    // The line must parse. An encoder writes JSON; a record of a topic need not be JSON, and is kept as a string then.
    const body = isJson(event) ? event : Buffer.from(JSON.stringify(event.toString('utf8')));
    const text = JSON.stringify({ ...head, ...keyText(letter.key), reason });
    return Buffer.concat([Buffer.from(text.slice(0, -1) + EVENT_MARK), body, Buffer.from('}\n')]);
  }

  #write(bytes: Buffer): void {
    if (this.#length >= this.#options.fileBytesMax) {
      this.close();
      this.#open(this.#number + 1);
    }
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at, bytes.length - at, this.#length + at);
      fsyncSync(this.#fd);
    } catch (error) {
      // Half a line must not run into the next one. If cutting fails too, the next open closes the torn tail.
      try {
        ftruncateSync(this.#fd, this.#length);
      } finally {
        this.close();
      }
      throw error;
    }
    this.#length += bytes.length;
  }

  #open(number?: number): void {
    if (this.#fd >= 0) return;
    const { directory, sink } = this.#options;
    makeDirectory(directory, 0o700);
    this.#number = number ?? Math.max(1, ...filesOf(directory, sink).map(fileNumber));
    const path = join(directory, `${sink}-${String(this.#number).padStart(6, '0')}.ndjson`);
    const fd = openSync(path, 'a+', 0o600);
    closeSync(fd); // 'a' creates it; positioned writes need a descriptor without O_APPEND.
    this.#fd = openSync(path, 'r+', 0o600);
    this.#length = statSync(path).size;
    const last = Buffer.alloc(1);
    if (this.#length > 0 && readSync(this.#fd, last, 0, 1, this.#length - 1) === 1 && last[0] !== NEWLINE) {
      this.#length += writeSync(this.#fd, '\n', this.#length);
    }
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
  #readKeys(): Map<string, Set<number>> {
    const { directory, sink, logId } = this.#options;
    const keys = new Map<string, Set<number>>();
    for (const name of filesOf(directory, sink).toReversed()) {
      let found = 0;
      let lines = 0;
      for (const { letter } of readLetters(join(directory, name))) {
        lines += 1;
        if (letter?.log !== logId || letter.position < (this.#cursors.get(letter.lane) ?? 0)) continue;
        addKey(keys, letter.lane, letter.position);
        found += 1;
      }
      if (found === 0 && lines > 0 && !this.#wentBack) break;
    }
    return keys;
  }
}

/** The files of one sink (or of all), oldest first. A missing directory has none. */
export function deadLetterFiles(directory: string, sink?: string): string[] {
  return filesOf(directory, sink).map((name) => join(directory, name));
}

/** One line of a file and where it stands; no letter for a line that is none (a torn tail). */
export interface LetterLine {
  readonly letter: StoredLetter | undefined;
  /** The event as the sink was given it, byte for byte: a number may have more digits than `letter.event` can hold. */
  readonly line: Buffer;
  readonly start: number;
  readonly end: number;
}

/**
 * Reads a file line by line in bounded memory, from the byte `start` (the begin of a line). A last line without newline
 * is not yielded: it is torn, or still being written.
 */
export function* readLetters(path: string, start = 0): Generator<LetterLine> {
  const fd = openSync(path, 'r');
  try {
    const chunk = Buffer.allocUnsafe(READ_BYTES);
    let rest: Buffer = Buffer.alloc(0);
    let position = start;
    for (let read = start; ; ) {
      const count = readSync(fd, chunk, 0, READ_BYTES, read);
      if (count === 0) return;
      read += count;
      const bytes = Buffer.concat([rest, chunk.subarray(0, count)]);
      let begin = 0;
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, begin)) {
        const text = bytes.subarray(begin, end);
        const letter = parseLetter(text.toString('utf8'));
        const line = letter === undefined ? text : eventOf(text, letter);
        yield { letter, line, start: position + begin, end: position + end + 1 };
        begin = end + 1;
      }
      position += begin;
      rest = bytes.subarray(begin);
    }
  } finally {
    closeSync(fd);
  }
}

function parseLetter(line: string): StoredLetter | undefined {
  try {
    const letter = JSON.parse(line) as Partial<StoredLetter> | null;
    if (typeof letter?.lane !== 'string' || typeof letter.position !== 'number' || !('event' in letter))
      return undefined;
    return letter as StoredLetter;
  } catch {
    return undefined;
  }
}

/** The bytes of the event. The mark is found in no member before it: inside a string its quotes would be escaped. */
function eventOf(text: Buffer, letter: StoredLetter): Buffer {
  if (typeof letter.event === 'string') return Buffer.from(letter.event);
  return text.subarray(text.indexOf(EVENT_MARK) + EVENT_MARK.length, text.length - 1);
}

function keyText(key: Uint8Array | undefined): Pick<StoredLetter, 'key' | 'key64'> {
  if (key === undefined) return {};
  const bytes = Buffer.from(key);
  const text = bytes.toString('utf8');
  return bytes.equals(Buffer.from(text)) ? { key: text } : { key64: bytes.toString('base64') };
}

/** The key of a letter, byte for byte. */
export function keyOfLetter({ key, key64 }: StoredLetter): Buffer | undefined {
  if (key !== undefined) return Buffer.from(key);
  return key64 === undefined ? undefined : Buffer.from(key64, 'base64');
}

/** A value that is a JSON string counts as text: the reader takes a string in the letter for text that is no JSON. */
function isJson(bytes: Buffer): boolean {
  const text = bytes.toString('utf8');
  if (text.includes('\n')) return false;
  try {
    return typeof JSON.parse(text) !== 'string' && Buffer.byteLength(text) === bytes.length;
  } catch {
    return false;
  }
}

function filesOf(directory: string, sink?: string): string[] {
  const pattern = sink === undefined ? /^[a-z0-9-]+-\d{6,}\.ndjson$/ : new RegExp(`^${sink}-\\d{6,}\\.ndjson$`);
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return names.filter((name) => pattern.test(name)).sort((a, b) => fileNumber(a) - fileNumber(b) || (a < b ? -1 : 1));
}

function fileNumber(name: string): number {
  return Number(/-(\d+)\.ndjson$/.exec(name)?.[1] ?? 0);
}

function addKey(keys: Map<string, Set<number>>, lane: string, position: number): void {
  const positions = keys.get(lane);
  if (positions === undefined) keys.set(lane, new Set([position]));
  else positions.add(position);
}
