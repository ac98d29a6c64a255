/**
 * Rotated files of the log sink: how they are named, compressed and removed. `events.ndjson` becomes
 * `events-2026-11-21T08-00-00.123Z.ndjson`, then `events-2026-11-21T08-00-00.123Z.ndjson.gz`.
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

/** The name of a file that is rotated at `ms`. When it is taken, the next free millisecond. */
export function rotatedName(path: string, ms: number): string {
  const { folder, name, ending } = stem(path);
  for (let at = ms; ; at++) {
    const candidate = join(folder, `${name}-${new Date(at).toISOString().replaceAll(':', '-')}${ending}`);
    if (!existsSync(candidate) && !existsSync(`${candidate}.gz`)) return candidate;
  }
}

/** Rotated files of `path`, oldest first. Compressed files are included, `.gz.part` files are not. */
export function rotatedFiles(path: string): string[] {
  const { folder, name, ending } = stem(path);
  const time = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z$/;
  return readdirSync(folder)
    .filter((file) => {
      const plain = file.endsWith('.gz') ? file.slice(0, -3) : file;
      if (!plain.startsWith(`${name}-`) || !plain.endsWith(ending)) return false;
      return time.test(plain.slice(name.length + 1, plain.length - ending.length));
    })
    .sort()
    .map((file) => join(folder, file));
}

/** Removes rotated files beyond the limits; returns the removed ones. */
export function pruneRotated(path: string, backups: number, maxAgeDays: number, now: number): string[] {
  const files = rotatedFiles(path);
  const tooMany = backups > 0 ? files.slice(0, Math.max(0, files.length - backups)) : [];
  const tooOld = maxAgeDays > 0 ? files.filter((file) => now - statSync(file).mtimeMs > maxAgeDays * 86_400_000) : [];
  const gone = [...new Set([...tooMany, ...tooOld])];
  for (const file of gone) rmSync(file, { force: true });
  return gone;
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
