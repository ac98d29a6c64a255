/**
 * Progress of the replay of one dead-letter file. It stands beside the file, because the collector may be appending to
 * that one.
 *
 *   <file>.replayed    what is done: {"to": bytes of the file that were looked at, "again": [begins of the lines before
 *                      `to` that are pending], "first": hash of the first line, "id": name of the replays of this file,
 *                      "next": number of the next letter}
 *   <file>.replaying   the group of letters that is under way, a line per fact, each synced before the next try:
 *                      {"next": number of the first letter, "letters": [begins of lines]}
 *                      {"from": i, "to": j, "refused": [k]}: letters i to j are sent now; all before i are settled,
 *                      and those that were refused are named
 *
 * So a replay that is killed at any moment knows which letters were under way: at most one request is in doubt, and it
 * is sent again unchanged. A target that keeps a cursor (named by `id`) says itself whether it has that request.
 * Versions that know no `.replaying` see its group as pending.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { readLetters } from './dead-letter-format.ts';

export interface ReplayMark {
  readonly to: number;
  readonly again: readonly number[];
  /** Missing in marks of older versions. */
  readonly first?: string;
  /** 32 hex digits. Missing in marks of older versions. */
  readonly id?: string;
  readonly next?: number;
}

/** A group that a replay has not finished. */
export interface UnfinishedGroup {
  /** Begins of its lines. */
  readonly letters: readonly number[];
  /** So many of them are settled: delivered, or refused. */
  readonly settled: number;
  /** Which of the settled ones were refused, by their number in the group. */
  readonly refused: readonly number[];
  /** Letters behind the settled ones that the last request held. */
  readonly tried: number;
}

const NOTHING: ReplayMark = { to: 0, again: [] };

const markPath = (path: string): string => `${path}.replayed`;
const groupPath = (path: string): string => `${path}.replaying`;

/** Tells a file from another one that has got its name. */
function firstOf(path: string): string | undefined {
  const [line] = readLetters(path);
  if (line === undefined) return undefined;
  return createHash('sha256')
    .update(JSON.stringify(line.letter ?? ''))
    .update(line.line)
    .digest('hex')
    .slice(0, 32);
}

/** What replays have done of a file. A mark that belongs to another file of this name counts for nothing. */
export function readMark(path: string): ReplayMark {
  const text = readText(markPath(path));
  if (text === undefined) return NOTHING;
  const mark = JSON.parse(text) as ReplayMark;
  const foreign = mark.to > statSync(path).size || (mark.first !== undefined && mark.first !== firstOf(path));
  return foreign ? NOTHING : mark;
}

export class ReplayProgress {
  readonly #path: string;
  #mark: Required<ReplayMark>;
  /** The mark with this id is on disk. */
  #known: boolean;
  #fd = -1;
  #length: number;
  /** Left by a replay that did not end. */
  readonly unfinished: UnfinishedGroup | undefined;

  constructor(path: string) {
    this.#path = path;
    const mark = readMark(path);
    const { to, again, next = 0, id = randomBytes(16).toString('hex') } = mark;
    this.#mark = { to, again, first: mark.first ?? firstOf(path) ?? '', id, next };
    this.#known = mark.id !== undefined;
    const facts = this.#known ? wholeLines(readText(groupPath(path)) ?? '') : '';
    this.unfinished = groupOf(facts, next);
    this.#length = Buffer.byteLength(facts);
  }

  get mark(): Required<ReplayMark> {
    return this.#mark;
  }

  /** A group is about to be sent. */
  begin(letters: readonly number[]): void {
    // The id is durable before a target keeps a cursor under it.
    if (!this.#known) this.#write(this.#mark);
    this.#known = true;
    this.#length = 0;
    this.#add({ next: this.#mark.next, letters });
  }

  /** The letters [from, to) of the group are sent next; `refused`: numbers of those that were, since the last call. */
  sends(from: number, to: number, refused: readonly number[]): void {
    this.#add({ from, to, refused });
  }

  /** Everything before `to` was looked at; `again` is pending. */
  end(to: number, again: readonly number[], next: number): void {
    this.#write({ ...this.#mark, to, again, next });
    this.#known = true;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  /** Adds behind the last whole line: the tail of a crash is cut, and so is a group that is over. */
  #add(fact: object): void {
    if (this.#fd < 0) {
      this.#fd = openSync(groupPath(this.#path), constants.O_RDWR | constants.O_CREAT, 0o600);
      syncFolder(this.#path);
    }
    const bytes = Buffer.from(`${JSON.stringify(fact)}\n`);
    ftruncateSync(this.#fd, this.#length);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at, bytes.length - at, this.#length + at);
    fsyncSync(this.#fd);
    this.#length += bytes.length;
  }

  #write(mark: Required<ReplayMark>): void {
    const next = `${markPath(this.#path)}.next`;
    writeFileSync(next, JSON.stringify(mark), { mode: 0o600, flush: true });
    renameSync(next, markPath(this.#path));
    syncFolder(this.#path);
    this.#mark = mark;
  }
}

const wholeLines = (text: string): string => text.slice(0, text.lastIndexOf('\n') + 1);

/** The group under way when the last replay was killed. A group before the mark's next letter is over. */
function groupOf(facts: string, next: number): UnfinishedGroup | undefined {
  const lines = facts.split('\n').slice(0, -1);
  const [head, ...sends] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  if (head === undefined || head['next'] !== next) return undefined;
  const letters = head['letters'] as number[];
  const last = sends.at(-1) as { from: number; to: number } | undefined;
  const refused = sends.flatMap((send) => send['refused'] as number[]);
  return { letters, settled: last?.from ?? 0, refused, tried: last === undefined ? 0 : last.to - last.from };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function syncFolder(path: string): void {
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
