/**
 * Replay: sends dead letters to their output again, after somebody has mended the cause of the refusal. It runs beside
 * the process: it touches no cursor, and it changes no dead-letter file, because the process may be appending to it.
 * What it has done stands beside each file:
 *
 *   <output>-000001.ndjson.replayed   {"to": bytes of the file that are done, "again": [begins of lines refused again]}
 *
 * The mark is stored after the target has the events, so a replay that is killed sends some of them a second time:
 * Postgres knows them by their id, other targets may hold them twice. Run one replay of a sink at a time.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { foreignBytes, putForeign } from '../events/foreign.ts';
import { isEventLine, putRecord } from '../events/record.ts';
import { addKey } from '../events/record-key.ts';
import type { ErrorClass, SinkBatch, SinkTarget } from './contract.ts';
import { deadLetterFiles, keyOfLetter, type LetterLine, readLetters } from './dead-letter.ts';

const RECORDS_MAX = 500;
const BYTES_MAX = 4 * 1024 * 1024;
/** A target that is away is tried so often; then the replay ends, and can be started again. */
const ATTEMPTS = 5;
const ATTEMPT_MS = 1000;
const ZERO = { position: 0, record: 0 };
const NO_LANE = { life: 0, lane: 0 };

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

export interface ReplayOptions {
  readonly directory: string;
  readonly sink: string;
  readonly target: Pick<SinkTarget, 'write' | 'settle'>;
  readonly classify: (error: unknown) => ErrorClass;
  readonly attemptMs?: number;
}

export interface Replayed {
  delivered: number;
  refused: number;
}

/** Sends every pending letter of a sink. Throws when the target stays away; what was sent until then is marked. */
export async function replay(options: ReplayOptions): Promise<Replayed> {
  const total: Replayed = { delivered: 0, refused: 0 };
  for (const path of deadLetterFiles(options.directory, options.sink)) {
    const done = readMark(path);
    const again: number[] = [];
    let group: LetterLine[] = [];
    let bytes = 0;
    let to = done.to;
    const flush = async () => {
      const refused = await send(options, group);
      total.delivered += group.length - refused.length;
      total.refused += refused.length;
      again.push(...refused);
      // Lines before `to` that were not reached yet stay in the list.
      const last = group.at(-1)?.start ?? -1;
      writeMark(path, { to, again: [...again, ...done.again.filter((start) => start > last)] });
      [group, bytes] = [[], 0];
    };
    for (const line of pendingOf(path, done)) {
      to = Math.max(to, line.end);
      if (line.letter === undefined) continue;
      group.push(line);
      bytes += line.line.length;
      if (group.length >= RECORDS_MAX || bytes >= BYTES_MAX) await flush();
    }
    await flush();
  }
  return total;
}

function* pendingOf(path: string, done: ReplayMark): Generator<LetterLine> {
  for (const start of done.again) {
    const [line] = readLetters(path, start);
    if (line !== undefined) yield line;
  }
  yield* readLetters(path, done.to);
}

/** Delivers the lines; returns the begins of those that were refused. */
async function send(options: ReplayOptions, lines: readonly LetterLine[]): Promise<number[]> {
  const sound = lines.filter(isSound);
  const refused = lines.filter((line) => !isSound(line)).map(({ start }) => start);
  const pieces: LetterLine[][] = sound.length > 0 ? [sound] : [];
  for (let piece = pieces.pop(); piece !== undefined; piece = pieces.pop()) {
    const verdict = await attempt(options, batchOf(piece));
    if (verdict === 'delivered') continue;
    if (piece.length === 1) refused.push(piece[0]!.start);
    else pieces.push(piece.slice(piece.length >> 1), piece.slice(0, piece.length >> 1));
  }
  if (sound.length > 0) await options.target.settle?.();
  return refused.sort((a, b) => a - b);
}

async function attempt(options: ReplayOptions, batch: SinkBatch): Promise<'delivered' | 'refused'> {
  for (let attempts = 1; ; attempts += 1) {
    try {
      await options.target.write(batch, Promise.resolve());
      return 'delivered';
    } catch (error) {
      const verdict = options.classify(error);
      if (verdict === 'split') return 'refused';
      if (verdict === 'stop' || attempts === ATTEMPTS) throw error;
      await delay(options.attemptMs ?? ATTEMPT_MS);
    }
  }
}

/** A strand of a topic is called topic/partition, a lane of a log life-lane. */
const partitionOf = ({ letter }: LetterLine): number | undefined => {
  const found = /\/(\d+)$/.exec(letter?.lane ?? '');
  return found === null ? undefined : Number(found[1]);
};

/** An event that an encoder has made, or a record of a topic; no other text. */
const isSound = (letter: LetterLine): boolean => partitionOf(letter) !== undefined || isEventLine(letter.line);

/** Records as they lay on their strand, made again from their lines and keys. */
function batchOf(lines: readonly LetterLine[]): SinkBatch {
  const keys = lines.map(({ letter }) => keyOfLetter(letter!));
  const buffer = Buffer.alloc(lines.reduce((bytes, { line }, i) => bytes + foreignBytes(line, keys[i]), 0));
  const offsets = new Int32Array(lines.length);
  let end = 0;
  for (const [i, one] of lines.entries()) {
    const { line, letter } = one;
    const [key, timeMs, partition] = [keys[i], Date.parse(letter!.time), partitionOf(one)];
    offsets[i] = end;
    if (partition !== undefined)
      end = putForeign(buffer, end, line, key, timeMs, { topic: 0, partition, offset: letter!.position });
    else {
      const behind = putRecord(buffer, end, line, timeMs);
      end = key === undefined ? behind : addKey(buffer, end, key);
    }
  }
  const positions = Float64Array.from(lines, ({ letter }) => letter!.position);
  const count = lines.length;
  return { lane: NO_LANE, count, buffer, offsets, positions, from: ZERO, to: ZERO, commit: false };
}

interface ReplayMark {
  readonly to: number;
  readonly again: readonly number[];
}

function markPath(path: string): string {
  return `${path}.replayed`;
}

function readMark(path: string): ReplayMark {
  try {
    const mark = JSON.parse(readFileSync(markPath(path), 'utf8')) as ReplayMark;
    // A mark beyond the end belongs to a file that was replaced.
    if (mark.to <= statSync(path).size) return mark;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return { to: 0, again: [] };
}

function writeMark(path: string, mark: ReplayMark): void {
  const next = `${markPath(path)}.next`;
  const fd = openSync(next, 'w', 0o600);
  try {
    writeSync(fd, JSON.stringify(mark));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(next, markPath(path));
}
