/**
 * Rotated files of the log sink: how they are named, compressed and removed. `events.ndjson` becomes
 * `events-r000012-2026-11-21T08-00-00.123Z.ndjson`, then the same with `.gz`.
 *
 * The number counts rotations, so the names sort in the order of writing; a clock that is set back changes nothing in
 * it. Versions before had no number: their files are the older ones, and sort before all others.
 *
 * Compression can be repeated: it writes `.gz.part`, syncs it, renames it to `.gz`, then removes the original. After a
 * crash there is either the original, and a `.gz.part` beside it is written anew; or both whole files, and the original
 * is removed.
 */
import {
  closeSync,
  createReadStream,
  createWriteStream,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

const stem = (path: string): { folder: string; name: string; ending: string } => {
  const ending = extname(path);
  return { folder: dirname(path), name: basename(path, ending), ending };
};

const NAME = /^(?:r(\d{6,15})-)?(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z)$/;

interface Rotated {
  readonly file: string;
  /** Number of the rotation; 0: written by a version that did not count. */
  readonly number: number;
  readonly time: string;
}

/** Rotated files of `path` in the order of writing. `.gz.part` files are not among them. */
function listRotated(path: string): Rotated[] {
  const { folder, name, ending } = stem(path);
  return readdirSync(folder)
    .flatMap((file) => {
      const plain = file.endsWith('.gz') ? file.slice(0, -3) : file;
      if (!plain.startsWith(`${name}-`) || !plain.endsWith(ending)) return [];
      const found = NAME.exec(plain.slice(name.length + 1, plain.length - ending.length));
      return found === null ? [] : [{ file: join(folder, file), number: Number(found[1] ?? 0), time: found[2]! }];
    })
    .sort((a, b) => a.number - b.number || (a.time < b.time ? -1 : Number(a.time > b.time)));
}

/** Rotated files of `path` in the order of writing, the oldest first. */
export const rotatedFiles = (path: string): string[] => listRotated(path).map(({ file }) => file);

/** The name of the file that is rotated at `ms`. */
export function rotatedName(path: string, ms: number): string {
  const { folder, name, ending } = stem(path);
  const number = String((listRotated(path).at(-1)?.number ?? 0) + 1).padStart(6, '0');
  return join(folder, `${name}-r${number}-${new Date(ms).toISOString().replaceAll(':', '-')}${ending}`);
}

/**
 * Removes rotated files beyond the limits; returns the removed ones. A file counts as old when it and all that were
 * written before it are: a clock that was wrong for a while makes no newer file old. `failed` hears of each file that
 * stays.
 */
export function pruneRotated(
  path: string,
  backups: number,
  maxAgeDays: number,
  now: number,
  failed: (error: unknown) => void,
): string[] {
  const files = rotatedFiles(path);
  const oldest = maxAgeDays > 0 ? now - maxAgeDays * 86_400_000 : Number.NEGATIVE_INFINITY;
  const young = files.findIndex((file) => statSync(file).mtimeMs >= oldest);
  const tooOld = young < 0 ? files.length : young;
  const tooMany = backups > 0 ? files.length - backups : 0;
  return files.slice(0, Math.max(0, tooOld, tooMany)).filter((file) => {
    try {
      rmSync(file, { force: true });
      return true;
    } catch (error) {
      failed(error);
      return false;
    }
  });
}

/** Job of the pool: compresses one rotated file. */
export default async function compress(file: string): Promise<void> {
  const target = `${file}.gz`;
  const part = `${target}.part`;
  if (!existsSync(file)) return;
  if (!existsSync(target)) {
    // The compressed file has the mode of the original: the same people may read it.
    const mode = statSync(file).mode & 0o777;
    await pipeline(createReadStream(file), createGzip({ level: 6 }), createWriteStream(part, { mode }));
    const fd = openSync(part, 'r+');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(part, target);
  }
  rmSync(file, { force: true });
}
