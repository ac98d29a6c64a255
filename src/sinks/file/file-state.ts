/**
 * File state: what the checkpoint holds of a log file, and how a file is known again by it. A file is cut only when it
 * is the one of the checkpoint by device, inode and last bytes: the system gives the inode of a removed file to a new
 * one.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, type Stats, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';

const TAIL_BYTES = 4096;
const CHUNK_BYTES = 2 ** 20;
/** Bytes of others that are moved when a file is cut. */
const FOREIGN_BYTES_MAX = 16 * 2 ** 20;
const NEWLINE = 10;
const BRACE = 0x7b;

export interface FileIdentity {
  readonly dev: number;
  readonly ino: number;
  /** When the inode was made, ms since 1970. Missing in checkpoints of older versions. */
  readonly born?: number;
}
/** What the checkpoint holds. */
export interface FileState extends FileIdentity {
  readonly path: string;
  readonly length: number;
  /** CRC-32 of the last bytes before `length`, see tailSum(). */
  readonly tail: number;
  /** The rotation that follows this checkpoint: the file that will take the name. */
  readonly next?: FileIdentity;
  /** The run ended with this checkpoint: what lies behind `length` is not ours. */
  readonly closed?: true;
}

export const identityOf = ({ dev, ino, birthtimeMs }: Stats): FileIdentity => ({ dev, ino, born: birthtimeMs });
export const identity = (fd: number): FileIdentity => identityOf(fstatSync(fd));
/**
 * Whether both are one file. A disk may come back with another device number (a reboot, a volume that is attached to
 * another host): then inode and time of birth decide. File systems that know no time of birth leave it to the device.
 */
export const same = (a: FileIdentity, b: FileIdentity | undefined): boolean =>
  a.ino === b?.ino && (a.dev === b.dev || (a.born !== undefined && a.born > 0 && a.born === b.born));

/** CRC-32 of the last bytes of [0, length), of 4 KiB at most. */
export function tailSum(fd: number, length: number): number {
  const bytes = Math.min(length, TAIL_BYTES);
  const tail = Buffer.alloc(bytes);
  for (let done = 0; done < bytes; ) {
    const n = readSync(fd, tail, done, bytes - done, length - bytes + done);
    if (n === 0) break;
    done += n;
  }
  return crc32(tail);
}

/**
 * Whether the open file is the one of the checkpoint. A file that became shorter lacks the bytes to compare; device and
 * inode decide, and it is not cut.
 */
export function isOurs(fd: number, state: FileState): boolean {
  const found = fstatSync(fd);
  return same(identityOf(found), state) && (found.size < state.length || tailSum(fd, state.length) === state.tail);
}

/** The last line may lack its newline: a writer without a journal was killed, or another program wrote it. */
export function closeTornLine(fd: number, length: number): number {
  const last = Buffer.alloc(1);
  if (length === 0 || readSync(fd, last, 0, 1, length - 1) === 0 || last[0] === NEWLINE) return length;
  return length + writeSync(fd, '\n', length);
}

/** How many lines the journal will deliver again: more are not cut. Counted down over the files of a start. */
export interface Repeats {
  left: number;
}

/**
 * Takes back what was written behind `length` since the checkpoint: it will be delivered again. Lines that somebody
 * else has appended stay. When there are more lines of ours than come again, all stay: the journal was put back from a
 * copy, or a power cut has taken its end, and nothing tells which of them nobody else has. Returns the bytes that stay.
 * Lines of ours begin with a brace, or with zeros where a power cut has left them.
 */
export function cutBack(fd: number, length: number, repeats: Repeats): number {
  const { size } = fstatSync(fd);
  if (size <= length) return 0;
  const foreign = keptLines(fd, length, size, repeats);
  // Rather twice than lost.
  if (foreign === undefined) return size - length;
  ftruncateSync(fd, length);
  for (let done = 0; done < foreign.length; )
    done += writeSync(fd, foreign, done, foreign.length - done, length + done);
  return foreign.length;
}

/**
 * The lines of [from, to) that are not ours, the last one with or without its newline; undefined: they are too many to
 * move, or more lines are ours than come again.
 */
function keptLines(fd: number, from: number, to: number, repeats: Repeats): Buffer | undefined {
  const kept: Buffer[] = [];
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, to - from));
  let bytes = 0;
  /** Whether the line that is read is cut. */
  let cut: boolean | undefined;
  for (let at = from; at < to; ) {
    const n = readSync(fd, chunk, 0, Math.min(chunk.length, to - at), at);
    if (n === 0) break;
    at += n;
    for (let begin = 0; begin < n; ) {
      if (cut === undefined) {
        const ours = chunk[begin] === BRACE;
        if (ours) repeats.left -= 1;
        if (repeats.left < 0) return undefined;
        cut = ours || chunk[begin] === 0;
      }
      const newline = chunk.subarray(0, n).indexOf(NEWLINE, begin);
      const end = newline < 0 ? n : newline + 1;
      if (!cut) {
        bytes += end - begin;
        if (bytes > FOREIGN_BYTES_MAX) return undefined;
        kept.push(Buffer.from(chunk.subarray(begin, end)));
      }
      if (newline >= 0) cut = undefined;
      begin = end;
    }
  }
  return Buffer.concat(kept);
}

/** Makes renames and new names beside `path` durable. */
export function syncFolderOf(path: string): void {
  const fd = openSync(dirname(path), 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
