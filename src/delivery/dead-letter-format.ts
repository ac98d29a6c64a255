/**
 * The format of dead-letter files, and how they are read. One directory, one growing list of files per sink:
 *
 *   <dir>/<sink>-000001.ndjson   one line per letter, in the order of refusal:
 *   {"sink":"postgres","log":"<log id>","lane":"3-0","position":8192,"time":"...Z","head64":"...","reason":"...",
 *    "event":{...}}
 *
 *   lane     the strand: `life-lane` of a log, `topic/partition` of Kafka
 *   head64   the fixed fields of the record in base64: when it came, its kind, its source. Missing in older files
 *   key      the record's own key, if it has one; "key64" in base64 when the key is no text
 *   event    the line byte for byte; of a value that is no JSON, a string; "event64" in base64 when the value is no
 *            text
 *
 * The identity of a letter is what it says of its origin (sink, log, strand, position) and its event. Position alone is
 * not enough: a restored copy of a journal may write a second event at a position that a letter names already.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';

/** One refused event. Its bytes are copied before append() returns. */
export interface DeadLetter {
  readonly lane: string;
  readonly position: number;
  readonly reason: string;
  /** The line without its newline. */
  readonly event: Uint8Array;
  /** The fixed fields of the record. */
  readonly head?: Uint8Array;
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
  readonly head64?: string;
  readonly key?: string;
  readonly key64?: string;
  readonly event?: unknown;
  readonly event64?: string;
}

/** One line of a file and where it stands; no letter for a line that is none (a torn tail). */
export interface LetterLine {
  readonly letter: StoredLetter | undefined;
  /** The event as the sink was given it, byte for byte: a number may have more digits than `letter.event` can hold. */
  readonly line: Buffer;
  readonly start: number;
  readonly end: number;
}

const REASON_LENGTH_MAX = 1000;
const READ_BYTES = 1024 * 1024;
const NEWLINE = 10;
const EVENT_MARK = ',"event":';

/** The line of a letter, with its newline. It has no other newline, whatever the event holds. */
export function lineOf(letter: DeadLetter, origin: { sink: string; log: string }, time: string): Buffer {
  const { lane, position, head } = letter;
  const reason = letter.reason.slice(0, REASON_LENGTH_MAX);
  const head64 = head && Buffer.from(head).toString('base64');
  const fields = { ...origin, lane, position, time, head64, ...keyText(letter.key), reason };
  const event = Buffer.from(letter.event);
  if (!isUtf8(event)) return Buffer.from(`${JSON.stringify({ ...fields, event64: event.toString('base64') })}\n`);
  // An encoder writes JSON. A record of a topic need not be JSON, and is kept as a string then.
  const body = isJson(event) ? event : Buffer.from(JSON.stringify(event.toString('utf8')));
  const text = JSON.stringify(fields);
  return Buffer.concat([Buffer.from(text.slice(0, -1) + EVENT_MARK), body, Buffer.from('}\n')]);
}

/** Tells two events at one position apart. */
export const eventHash = (event: Uint8Array): string =>
  createHash('sha256').update(event).digest('base64url').slice(0, 22);

/** The identity of a letter: the same in every copy of its file, and another one for every other event. */
export function identityOf({ sink, log, lane, position }: StoredLetter, event: Uint8Array): string {
  return createHash('sha256')
    .update(`${JSON.stringify([sink, log, lane, position])}\n`)
    .update(event)
    .digest('hex');
}

/** The files of one sink (or of all), oldest first. A missing directory has none. */
export function deadLetterFiles(directory: string, sink?: string): string[] {
  const pattern = sink === undefined ? /^[a-z0-9-]+-\d{6,}\.ndjson$/ : new RegExp(`^${sink}-\\d{6,}\\.ndjson$`);
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return names
    .filter((name) => pattern.test(name))
    .sort((a, b) => fileNumber(a) - fileNumber(b) || (a < b ? -1 : 1))
    .map((name) => join(directory, name));
}

/** The number in the name of a file. */
export function fileNumber(path: string): number {
  return Number(/-(\d+)\.ndjson$/.exec(path)?.[1] ?? 0);
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
    if (typeof letter?.lane !== 'string' || typeof letter.position !== 'number') return undefined;
    return 'event' in letter || typeof letter.event64 === 'string' ? (letter as StoredLetter) : undefined;
  } catch {
    return undefined;
  }
}

/** The bytes of the event. The mark is found in no member before it: inside a string its quotes would be escaped. */
function eventOf(text: Buffer, { event, event64 }: StoredLetter): Buffer {
  if (event64 !== undefined) return Buffer.from(event64, 'base64');
  if (typeof event === 'string') return Buffer.from(event);
  return text.subarray(text.indexOf(EVENT_MARK) + EVENT_MARK.length, text.length - 1);
}

function keyText(key: Uint8Array | undefined): Pick<StoredLetter, 'key' | 'key64'> {
  if (key === undefined) return {};
  const bytes = Buffer.from(key);
  return isUtf8(bytes) ? { key: bytes.toString('utf8') } : { key64: bytes.toString('base64') };
}

/** The key of a letter, byte for byte. */
export function keyOfLetter({ key, key64 }: StoredLetter): Buffer | undefined {
  if (key !== undefined) return Buffer.from(key);
  return key64 === undefined ? undefined : Buffer.from(key64, 'base64');
}

/** A value that is a JSON string counts as text: the reader takes a string in the letter for text that is no JSON. */
function isJson(event: Buffer): boolean {
  if (event.includes(NEWLINE)) return false;
  try {
    return typeof JSON.parse(event.toString('utf8')) !== 'string';
  } catch {
    return false;
  }
}
