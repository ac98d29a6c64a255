/**
 * Replay: sends dead letters to their output again, after somebody has mended the cause of the refusal. It runs beside
 * the process: it touches no cursor of its log, and it changes no dead-letter file, because the process may be
 * appending to it. What it has done stands beside each file (dead-letter-progress.ts).
 *
 *   group   up to RECORDS_MAX letters of one file, in order; those that an earlier replay saw refused come first
 *   split   a refused group is halved until the refused letter stands alone; that letter stays pending
 *   number  each letter of a file gets a number when it is sent. A group is a stretch of a strand whose positions are
 *           these numbers, so letters of two lives at one position are two records to every target
 *
 * Each request is on disk before it is sent, and its outcome before the next one. A replay that is killed leaves one
 * request in doubt: the next replay sends it unchanged, first of all. Postgres keeps a cursor of the replay in the
 * transaction of the letters, so each letter is loaded once; HTTP gets the same Idempotency-Key; Kafka may get the
 * request twice. One replay of a sink runs at a time.
 */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { laneKey } from '../engine/segment.ts';
import { type FileLock, holderOf, lockFile } from '../kernel/file-lock.ts';
import { CursorMoved, type ErrorClass, type SinkBatch, type SinkTarget } from './contract.ts';
import { deadLetterFiles, type LetterLine, readLetters } from './dead-letter-format.ts';
import { type ReplayMark, ReplayProgress, readMark, type UnfinishedGroup } from './dead-letter-progress.ts';
import { batchOf, isLetter, isSound, type Letter, REPLAY_LANE } from './dead-letter-record.ts';
import { deliveryErrors } from './errors.ts';

const RECORDS_MAX = 500;
const BYTES_MAX = 4 * 1024 * 1024;
/** A target that is away is tried so often; then the replay ends, and can be started again. */
const ATTEMPTS = 5;
const ATTEMPT_MS = 1000;

export interface Summary {
  readonly path: string;
  readonly letters: number;
  /** Letters that no replay has delivered. */
  readonly pending: number;
  /** Lines that are no letters: torn tails. */
  readonly unreadable: number;
  readonly firstTime: string | undefined;
  readonly lastTime: string | undefined;
  /** Reason -> number of letters; the most frequent first. */
  readonly reasons: readonly (readonly [string, number])[];
}

/** What lies in the dead-letter folder, file by file. */
export function summarize(directory: string, sink?: string): Summary[] {
  return deadLetterFiles(directory, sink).map((path) => {
    const done = readMark(path);
    const again = new Set(done.again);
    const reasons = new Map<string, number>();
    const times: string[] = [];
    let [letters, pending, unreadable] = [0, 0, 0];
    for (const { letter, start } of readLetters(path)) {
      if (letter === undefined) {
        unreadable += 1;
        continue;
      }
      letters += 1;
      times.splice(1, 1, letter.time);
      reasons.set(letter.reason, (reasons.get(letter.reason) ?? 0) + 1);
      if (start >= done.to || again.has(start)) pending += 1;
    }
    const sorted = [...reasons].sort((a, b) => b[1] - a[1]);
    return { path, letters, pending, unreadable, firstTime: times[0], lastTime: times.at(-1), reasons: sorted };
  });
}

type ReplayTarget = Pick<SinkTarget, 'write' | 'settle' | 'cursors' | 'close'>;

export interface ReplayOptions {
  readonly directory: string;
  readonly sink: string;
  /** Opens the target. `source` names the letters of one file, for a target that keeps cursors. */
  readonly open: (source: string) => Promise<ReplayTarget>;
  readonly classify: (error: unknown) => ErrorClass;
  readonly attemptMs?: number;
}

export interface Replayed {
  delivered: number;
  refused: number;
}

/** The replay cannot go on. What was sent until then is marked; the rest is pending. */
export class ReplayEnded extends Error {
  readonly replayed: Replayed;
  /** The target may be back later; false: an operator is needed. */
  readonly temporary: boolean;

  constructor(replayed: Replayed, cause: unknown, temporary: boolean) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.replayed = replayed;
    this.temporary = temporary;
  }
}

/** Sends every pending letter of a sink. Throws ReplayEnded when the target stays away or stops it. */
export async function replay(options: ReplayOptions): Promise<Replayed> {
  const total: Replayed = { delivered: 0, refused: 0 };
  const files = deadLetterFiles(options.directory, options.sink);
  if (files.length === 0) return total;
  const lock = lockReplay(options);
  try {
    for (const path of files) await replayFile(options, path, total);
  } finally {
    lock.release();
  }
  return total;
}

async function replayFile(options: ReplayOptions, path: string, total: Replayed): Promise<void> {
  const file = new FileReplay(options, path, total);
  try {
    await file.run();
  } catch (error) {
    throw new ReplayEnded(total, error, options.classify(error) === 'retry');
  } finally {
    await file.close();
  }
}

/** A lock of the kernel's on an empty file, gone with the process. */
function lockReplay({ directory, sink }: ReplayOptions): FileLock {
  const path = join(directory, `${sink}.replay-lock`);
  closeSync(openSync(path, 'a', 0o600));
  const lock = lockFile(path);
  if (lock === undefined) throw deliveryErrors.REPLAY_BUSY({ sink, holder: holderOf(path, path) });
  return lock;
}

class FileReplay {
  readonly #options: ReplayOptions;
  readonly #path: string;
  readonly #total: Replayed;
  readonly #progress: ReplayProgress;
  #target: ReplayTarget | undefined;
  /** Where the target's cursor stands. */
  #cursor = 0;

  constructor(options: ReplayOptions, path: string, total: Replayed) {
    this.#options = options;
    this.#path = path;
    this.#total = total;
    this.#progress = new ReplayProgress(path);
  }

  async run(): Promise<void> {
    const { unfinished } = this.#progress;
    if (unfinished !== undefined) {
      const letters = unfinished.letters.map((start) => this.#lineAt(start)).filter(isLetter);
      const to = Math.max(this.#progress.mark.to, ...letters.map(({ end }) => end));
      await this.#send(letters, to, this.#unsoundBefore(to), unfinished);
    }
    // Letters that are refused in this run wait for the next one.
    const mark = this.#progress.mark;
    const done = unfinished === undefined ? mark : { ...mark, again: without(mark.again, unfinished.letters) };
    let group: Letter[] = [];
    let bytes = 0;
    let to = mark.to;
    let unsound: number[] = [];
    const flush = async () => {
      this.#total.refused += unsound.length;
      if (group.length > 0) await this.#send(group, to, unsound);
      else if (to > this.#progress.mark.to) this.#settle([], unsound, 0, to);
      [group, bytes, unsound] = [[], 0, []];
    };
    for (const line of pendingOf(this.#path, done)) {
      to = Math.max(to, line.end);
      if (!isLetter(line)) continue;
      if (!isSound(line)) {
        unsound.push(line.start);
        continue;
      }
      group.push(line);
      bytes += line.line.length;
      if (group.length >= RECORDS_MAX || bytes >= BYTES_MAX) await flush();
    }
    await flush();
  }

  async close(): Promise<void> {
    this.#progress.close();
    await this.#target?.close();
  }

  #lineAt(start: number): LetterLine {
    const [line] = readLetters(this.#path, start);
    if (line === undefined) throw new Error(`a dead-letter file must not be cut: file=${this.#path}, line at ${start}`);
    return line;
  }

  /** Begins of the letters behind the mark that no target takes. */
  #unsoundBefore(to: number): number[] {
    const found: number[] = [];
    for (const line of readLetters(this.#path, this.#progress.mark.to)) {
      if (line.start >= to) break;
      if (isLetter(line) && !isSound(line)) found.push(line.start);
    }
    return found;
  }

  /**
   * Sends a group, or the rest of one that a killed replay has `left`, and marks what became of it. The lines before
   * `to` are then looked at.
   */
  async #send(
    group: readonly Letter[],
    to: number,
    unsound: readonly number[],
    left?: Pick<UnfinishedGroup, 'settled' | 'tried' | 'refused'>,
  ): Promise<void> {
    const progress = this.#progress;
    const target = await this.#open();
    const { next } = progress.mark;
    const refused = new Set(left?.refused);
    let settled = left?.settled ?? 0;
    if (left === undefined) progress.begin(group.map(({ start }) => start));
    // The target has the request that was in doubt: its cursor stands behind it.
    const had = Math.max(settled, Math.min(this.#cursor - next, settled + (left?.tried ?? 0)));
    this.#total.delivered += had - settled;
    const inDoubt = left === undefined ? 0 : Math.max(0, settled + left.tried - had);
    settled = had;
    const ends = inDoubt > 0 ? [group.length, settled + inDoubt] : [group.length];
    let told = refused.size;
    while (settled < group.length) {
      const end = ends.at(-1)!;
      progress.sends(settled, end, [...refused].slice(told));
      told = refused.size;
      const place = { first: next + settled, from: this.#cursor, commit: target.cursors !== undefined };
      const verdict = await this.#attempt(target, batchOf(group.slice(settled, end), place));
      if (verdict === 'delivered') {
        this.#total.delivered += end - settled;
        this.#cursor = next + end;
      } else if (end - settled === 1) {
        this.#total.refused += 1;
        refused.add(settled);
      } else {
        ends.push((settled + end) >>> 1);
        continue;
      }
      settled = end;
      if (ends.length > 1) ends.pop();
    }
    await target.settle?.();
    this.#settle(group, [...unsound, ...[...refused].map((i) => group[i]!.start)], group.length, to);
  }

  #settle(group: readonly Letter[], refused: readonly number[], count: number, to: number): void {
    const { again, next } = this.#progress.mark;
    const sent = group.map(({ start }) => start);
    const pending = [...new Set([...without(again, sent), ...refused])].sort((a, b) => a - b);
    this.#progress.end(to, pending, next + count);
  }

  async #open(): Promise<ReplayTarget> {
    if (this.#target !== undefined) return this.#target;
    const { id, next } = this.#progress.mark;
    return this.#patiently(async () => {
      const target = await this.#options.open(id);
      try {
        const cursors = await target.cursors?.();
        this.#cursor = cursors === undefined ? next : (cursors.get(laneKey(REPLAY_LANE))?.position ?? 0);
      } catch (error) {
        await target.close();
        throw error;
      }
      this.#target = target;
      return target;
    });
  }

  async #attempt(target: ReplayTarget, batch: SinkBatch): Promise<'delivered' | 'refused'> {
    try {
      await this.#patiently(() => target.write(batch, Promise.resolve()));
      return 'delivered';
    } catch (error) {
      if (this.#options.classify(error) === 'split') return 'refused';
      throw error;
    }
  }

  /** Calls until it succeeds, is refused, or has failed too often. */
  async #patiently<T>(call: () => Promise<T>): Promise<T> {
    for (let attempts = 1; ; attempts += 1) {
      try {
        return await call();
      } catch (error) {
        const final = error instanceof CursorMoved || this.#options.classify(error) !== 'retry';
        if (final || attempts === ATTEMPTS) throw error;
        await delay(this.#options.attemptMs ?? ATTEMPT_MS);
      }
    }
  }
}

const without = (starts: readonly number[], gone: readonly number[]): number[] => {
  const set = new Set(gone);
  return starts.filter((start) => !set.has(start));
};

/** In one pass over the file, for many letters may be pending. */
function* pendingOf(path: string, { to, again }: ReplayMark): Generator<LetterLine> {
  const pending = new Set(again);
  const first = again.reduce((least, start) => Math.min(least, start), to);
  for (const line of readLetters(path, first)) if (line.start >= to || pending.has(line.start)) yield line;
}
