/**
 * Crash disk: a Disk in memory that forgets what a real one may forget. After the crash model of the ALICE paper (OSDI
 * 2014):
 *   process death  everything written stays (it is in the page cache); open files are gone
 *   power cut      of each file, every 512-byte sector written since its last fdatasync is there or not, each for itself;
 *                  a file may have its old size; of each folder, the names made, moved and removed since its last sync
 *                  are there up to some moment; a rename is whole or not at all, also between folders
 *   failed sync    fdatasync throws; some sectors have reached the disk, the others are marked clean, so the next
 *                  fdatasync succeeds and does nothing for them (Linux does so; the PostgreSQL people found it in 2018)
 * `fault` is asked before each operation. `readOnly` turns every change into an error; `trace` sees every operation.
 */
import { dirname } from 'node:path';
import type { Disk } from '../../src/engine/disk.ts';

const SECTOR = 512;

export type Operation =
  | 'open'
  | 'create'
  | 'write'
  | 'read'
  | 'fdatasync'
  | 'truncate'
  | 'rename'
  | 'unlink'
  | 'mkdir'
  | 'rmdir'
  | 'syncFolder';

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Whole number in [0, below). */
export const pick = (random: () => number, below: number): number => Math.floor(random() * below);

class File {
  /** What the page cache shows. */
  bytes = Buffer.alloc(0);
  /** What the disk holds. */
  durable = Buffer.alloc(0);
  readonly dirty = new Set<number>();
  changedMs = 0;

  resize(size: number): void {
    if (size <= this.bytes.length) this.bytes = Buffer.from(this.bytes.subarray(0, size));
    else this.bytes = Buffer.concat([this.bytes, Buffer.alloc(size - this.bytes.length)]);
  }

  /** Puts the sectors that `wanted` names on the disk. */
  persist(wanted: (sector: number) => boolean, size: number): void {
    const next = Buffer.alloc(size);
    this.durable.copy(next, 0, 0, Math.min(size, this.durable.length));
    for (const sector of this.dirty)
      if (wanted(sector))
        this.bytes.copy(next, sector * SECTOR, sector * SECTOR, Math.min((sector + 1) * SECTOR, size));
    this.durable = next;
  }
}

type Entry = File | 'folder';
/** Names that appear (an entry) and vanish (undefined) together. */
type NameChange = ReadonlyMap<string, Entry | undefined>;

const foldersOf = (change: NameChange): string[] => [...new Set([...change.keys()].map(dirname))];

export class CrashError extends Error {
  readonly code: string;
  constructor(code: string, operation: string, path: string) {
    super(`${code}: ${operation} '${path}'`);
    this.code = code;
  }
}

function apply(names: Map<string, Entry>, change: NameChange): void {
  for (const [path, entry] of change) {
    if (entry === undefined) names.delete(path);
    else names.set(path, entry);
  }
}

export class CrashDisk implements Disk {
  #names = new Map<string, Entry>();
  #durableNames = new Map<string, Entry>();
  /** Changes of names that are not synced. */
  #pending: NameChange[] = [];
  #open = new Map<number, { file: File; path: string }>();
  #fd = 100;
  /** Names an error code (ENOSPC, EIO) that the operation shall fail with. */
  fault: (operation: Operation, path: string, bytes: number) => string | undefined = () => undefined;
  trace: (operation: Operation, path: string, bytes: number, position: number) => void = () => undefined;
  readOnly = false;
  /** Time of the last write that stat() tells. */
  now: () => number = () => 0;
  /** Bytes all files may have together. */
  bytesMax = Number.POSITIVE_INFINITY;
  readonly random: () => number;

  constructor(random: () => number = () => 0.5) {
    this.random = random;
    this.#names.set('/', 'folder');
    this.#durableNames.set('/', 'folder');
  }

  #check(operation: Operation, path: string, bytes = 0, position = 0): void {
    this.trace(operation, path, bytes, position);
    if (this.readOnly && operation !== 'read' && operation !== 'open') throw new CrashError('EROFS', operation, path);
    const code = this.fault(operation, path, bytes);
    if (code !== undefined) throw new CrashError(code, operation, path);
  }

  #change(change: NameChange): void {
    apply(this.#names, change);
    this.#pending.push(change);
  }

  #set(path: string, entry: Entry | undefined): void {
    this.#change(new Map([[path, entry]]));
  }

  #file(path: string): File {
    const entry = this.#names.get(path);
    if (entry === undefined || entry === 'folder') throw new CrashError('ENOENT', 'open', path);
    return entry;
  }

  #opened(fd: number): { file: File; path: string } {
    const found = this.#open.get(fd);
    if (found === undefined) throw new CrashError('EBADF', 'use', String(fd));
    return found;
  }

  open(path: string, flags: string): number {
    const create = flags.startsWith('w') || flags.startsWith('a');
    this.#check(create ? 'create' : 'open', path);
    if (create) {
      if (flags.includes('x') && this.#names.has(path)) throw new CrashError('EEXIST', 'open', path);
      if (this.#names.get(dirname(path)) !== 'folder') throw new CrashError('ENOENT', 'open', path);
      this.#set(path, new File());
    }
    const fd = this.#fd++;
    this.#open.set(fd, { file: this.#file(path), path });
    return fd;
  }

  close(fd: number): void {
    this.#opened(fd);
    this.#open.delete(fd);
  }

  write(fd: number, buffer: Uint8Array, offset: number, bytes: number, position: number): void {
    const { file, path } = this.#opened(fd);
    let error: unknown;
    let length = bytes;
    try {
      this.#check('write', path, bytes, position);
      const growth = Math.max(0, position + bytes - file.bytes.length);
      if (growth > 0 && this.usedBytes() + growth > this.bytesMax) throw new CrashError('ENOSPC', 'write', path);
    } catch (failure) {
      // A part of it may have been written before the error.
      error = failure;
      length = this.readOnly ? 0 : pick(this.random, bytes);
    }
    if (position + length > file.bytes.length) file.resize(position + length);
    file.bytes.set(buffer.subarray(offset, offset + length), position);
    for (let s = Math.floor(position / SECTOR); s * SECTOR < position + length; s++) file.dirty.add(s);
    file.changedMs = this.now();
    if (error !== undefined) throw error;
  }

  read(fd: number, buffer: Uint8Array, offset: number, bytes: number, position: number): number {
    const { file, path } = this.#opened(fd);
    this.#check('read', path, bytes, position);
    if (position >= file.bytes.length) return 0;
    return file.bytes.copy(buffer, offset, position, Math.min(file.bytes.length, position + bytes));
  }

  fdatasync(fd: number): void {
    const { file, path } = this.#opened(fd);
    try {
      this.#check('fdatasync', path);
    } catch (error) {
      file.persist(() => this.random() < 0.5, file.bytes.length);
      file.dirty.clear();
      throw error;
    }
    file.persist(() => true, file.bytes.length);
    file.dirty.clear();
  }

  size(fd: number): number {
    return this.#opened(fd).file.bytes.length;
  }

  stat(path: string): { bytes: number; ms: number } {
    const file = this.#file(path);
    return { bytes: file.bytes.length, ms: file.changedMs };
  }

  truncate(fd: number, bytes: number): void {
    const { file, path } = this.#opened(fd);
    this.#check('truncate', path, bytes);
    file.resize(bytes);
  }

  rename(from: string, to: string): void {
    this.#check('rename', from);
    const file = this.#file(from);
    this.#change(
      new Map([
        [from, undefined],
        [to, file],
      ]),
    );
    for (const opened of this.#open.values()) if (opened.path === from) opened.path = to;
  }

  unlink(path: string): void {
    this.#check('unlink', path);
    this.#file(path);
    this.#set(path, undefined);
  }

  mkdir(path: string): void {
    this.#check('mkdir', path);
    if (this.#names.has(path)) return;
    if (!this.#names.has(dirname(path))) this.mkdir(dirname(path));
    this.#set(path, 'folder');
  }

  rmdir(path: string): void {
    this.#check('rmdir', path);
    if (this.list(path).length > 0) throw new CrashError('ENOTEMPTY', 'rmdir', path);
    this.#set(path, undefined);
  }

  list(path: string): string[] {
    if (this.#names.get(path) !== 'folder') throw new CrashError('ENOENT', 'list', path);
    const prefix = path === '/' ? '/' : `${path}/`;
    return [...this.#names.keys()]
      .filter((name) => name !== path && name.startsWith(prefix) && !name.slice(prefix.length).includes('/'))
      .map((name) => name.slice(prefix.length))
      .sort();
  }

  exists(path: string): boolean {
    return this.#names.has(path);
  }

  syncFolder(path: string): void {
    this.#check('syncFolder', path);
    // Changes of this folder, and what must stand before them in the other folder of a rename.
    const folders = new Set([path]);
    const last = this.#pending.length - 1;
    const wanted = new Set<NameChange>();
    for (let i = last; i >= 0; i--) {
      const change = this.#pending[i];
      if (!foldersOf(change).some((folder) => folders.has(folder))) continue;
      wanted.add(change);
      for (const folder of foldersOf(change)) folders.add(folder);
    }
    for (const change of this.#pending) if (wanted.has(change)) apply(this.#durableNames, change);
    this.#pending = this.#pending.filter((change) => !wanted.has(change));
  }

  usedBytes(): number {
    let bytes = 0;
    for (const entry of this.#names.values()) if (entry !== 'folder') bytes += entry.bytes.length;
    return bytes;
  }

  get openFiles(): number {
    return this.#open.size;
  }

  /** The process dies: its open files are closed, nothing else happens. */
  processDeath(): void {
    this.#open = new Map();
  }

  /** The machine loses power; afterwards the disk is as a reboot finds it. */
  powerCut(): void {
    this.#open = new Map();
    const lostIn = new Set<string>();
    for (const change of this.#pending) {
      const folders = foldersOf(change);
      if (this.random() < 0.7 && !folders.some((folder) => lostIn.has(folder))) apply(this.#durableNames, change);
      else for (const folder of folders) lostIn.add(folder);
    }
    this.#pending = [];
    // A file in a folder whose own name is lost is lost with it.
    const lost = (path: string): boolean =>
      path !== '/' && (!this.#durableNames.has(dirname(path)) || lost(dirname(path)));
    for (const path of [...this.#durableNames.keys()]) if (lost(path)) this.#durableNames.delete(path);
    for (const file of new Set(this.#durableNames.values())) {
      if (file === 'folder') continue;
      const size = this.random() < 0.5 ? file.durable.length : file.bytes.length;
      file.persist(() => this.random() < 0.5, size);
      file.dirty.clear();
      file.bytes = Buffer.from(file.durable);
    }
    this.#names = new Map(this.#durableNames);
  }

  /** The bytes of a file, to look at or to damage. */
  content(path: string): Buffer {
    return this.#file(path).bytes;
  }

  paths(): string[] {
    return [...this.#names].filter(([, entry]) => entry !== 'folder').map(([path]) => path);
  }
}
