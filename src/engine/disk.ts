/**
 * Disk: the few file operations that the log needs, passed in, so that tests can make them fail or forget. All are
 * synchronous: acceptors only write to the page cache, and the threads of the keeper and of the file sink may block.
 */
import * as fs from 'node:fs';
import { makeDirectory } from '../kernel/directory.ts';

export interface Disk {
  open(path: string, flags: string, mode?: number): number;
  /**
   * A second handle of an existing file, whose writes go past the page cache (open(2), O_DIRECT); undefined: the file
   * system has none. Memory address, position and length of its writes must be multiples of the block size (PAGE is
   * one), or the write throws EINVAL. A disk without openDirect() buffers every write.
   */
  openDirect?(path: string): number | undefined;
  close(fd: number): void;
  /** Writes all of [offset, offset + bytes) at `position`, or throws; a short write is continued. */
  write(fd: number, buffer: Uint8Array, offset: number, bytes: number, position: number): void;
  /** Reads `bytes` at `position`; fewer only at the end of the file. Returns how many. */
  read(fd: number, buffer: Uint8Array, offset: number, bytes: number, position: number): number;
  fdatasync(fd: number): void;
  size(fd: number): number;
  /** Size and time of the last change (epoch ms). */
  stat(path: string): { bytes: number; ms: number };
  truncate(fd: number, bytes: number): void;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  mkdir(path: string): void;
  rmdir(path: string): void;
  list(path: string): string[];
  exists(path: string): boolean;
  /** Makes renames, new names and removals in the folder durable. */
  syncFolder(path: string): void;
}

/** Whether the error says that direct writes are refused here, so that a buffered one may succeed. */
export function refusesDirect(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EINVAL' || code === 'ENOTSUP' || code === 'EOPNOTSUPP';
}

/** Whether the error says that the disk, or the user's share of it, is full. */
export function isDiskFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

export const realDisk: Disk = {
  open: (path, flags, mode = 0o600) => fs.openSync(path, flags, mode),
  openDirect(path) {
    try {
      return fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_DIRECT);
    } catch {
      return undefined;
    }
  },
  close: (fd) => fs.closeSync(fd),
  write(fd, buffer, offset, bytes, position) {
    let done = fs.writeSync(fd, buffer, offset, bytes, position);
    while (done < bytes) done += fs.writeSync(fd, buffer, offset + done, bytes - done, position + done);
  },
  read(fd, buffer, offset, bytes, position) {
    let done = 0;
    while (done < bytes) {
      const n = fs.readSync(fd, buffer, offset + done, bytes - done, position + done);
      if (n === 0) break;
      done += n;
    }
    return done;
  },
  fdatasync: (fd) => fs.fdatasyncSync(fd),
  size: (fd) => fs.fstatSync(fd).size,
  stat(path) {
    const { size, mtimeMs } = fs.statSync(path);
    return { bytes: size, ms: mtimeMs };
  },
  truncate: (fd, bytes) => fs.ftruncateSync(fd, bytes),
  rename: (from, to) => fs.renameSync(from, to),
  unlink: (path) => fs.unlinkSync(path),
  mkdir: (path) => {
    makeDirectory(path, 0o700);
  },
  rmdir: (path) => fs.rmdirSync(path),
  list: (path) => fs.readdirSync(path),
  exists: (path) => fs.existsSync(path),
  syncFolder(path) {
    const fd = fs.openSync(path, 'r');
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
};
