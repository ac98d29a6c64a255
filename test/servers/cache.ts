/**
 * What test files share on one machine and in one run: a folder outside the tree for things fetched once (Kafka's
 * jars, a copy of PostgreSQL's programs), and locks between processes, so that parallel files fetch them once.
 *
 * Always true: a folder that `once` returns is complete. It is built under another name and renamed at the end, so a
 * run killed in the middle leaves nothing that looks finished.
 */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** RINGMAIN_TEST_CACHE, else XDG_CACHE_HOME/ringmain-test, else a folder under the temporary one. */
export function cacheFolder(): string {
  const { RINGMAIN_TEST_CACHE: own, XDG_CACHE_HOME: xdg } = process.env;
  const folder = own || (xdg ? join(xdg, 'ringmain-test') : join(tmpdir(), 'ringmain-test-cache'));
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Runs `work` while no other process on this machine holds the lock of that name; a dead holder's lock is taken over. */
export async function withLock<T>(name: string, work: () => Promise<T>, waitMsMax = 600_000): Promise<T> {
  const path = join(cacheFolder(), `${name}.lock`);
  const deadline = Date.now() + waitMsMax;
  while (!tryLock(path)) {
    if (Date.now() > deadline) throw new Error(`lock was not released in time: path=${path}, waited=${waitMsMax} ms`);
    await sleep(100);
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

/** Returns cache/<name>, built by `build(folder)` the first time any process on this machine asks for it. */
export async function once(name: string, build: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(cacheFolder(), name);
  if (existsSync(folder)) return folder;
  await withLock(name, async () => {
    if (existsSync(folder)) return;
    const draft = `${folder}.draft`;
    rmSync(draft, { recursive: true, force: true });
    mkdirSync(draft, { recursive: true });
    await build(draft);
    renameSync(draft, folder);
  });
  return folder;
}

function tryLock(path: string): boolean {
  try {
    const fd = openSync(path, 'wx');
    writeSync(fd, String(process.pid));
    closeSync(fd);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  let holder = 0;
  try {
    holder = Number(readFileSync(path, 'utf8'));
  } catch {
    return false; // released between the two calls: the next round takes it
  }
  if (holder > 0 && !alive(holder)) {
    // Renaming first: of two waiters that both saw a dead holder only one moves the file away.
    const stale = `${path}.${process.pid}.stale`;
    try {
      renameSync(path, stale);
      rmSync(stale, { force: true });
    } catch {
      return false;
    }
  }
  return false;
}

/** True while a process of that id exists. */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
