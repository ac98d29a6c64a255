/**
 * File sink (`log`): NDJSON to one growing file, or to standard output.
 *
 *   delivery   exactly once across kill -9: the checkpoint holds the file's device, inode and length. A start cuts the
 *              file back to that length and delivers again from there. Standard output: at least once
 *   copies     a journal that was put back from a copy has not the lines that came after it: when there are more lines
 *              than come again, none is cut, and some stand twice
 *   one writer the file is locked (log-lock.ts); another process that has it stops this output
 *   others     every write, checkpoint and idle half second compares the name with the open file. Cut (copytruncate) or
 *              appended to: goes on at its end. Moved: goes on in the file that has the name. Each time after a
 *              checkpoint, so that a start knows the file again. Removed: what was written since the last checkpoint is
 *              written again, to a new file
 *   rotation   the next file is made and checkpointed before it takes the name, so a crash at any step is undone or
 *              finished
 *   full disk  a failed write is taken back and repeated; intake goes on until the journal's quota
 *   sync       a failed fdatasync is not repeated, because nobody knows what the kernel has kept. The file is cut back
 *              to its checkpoint and written anew
 *
 * What cannot be told: a process that dies between logrotate's cut and its own next look writes the lines since the
 * last checkpoint again, and they may also stand in logrotate's copy. And a start after kill -9 takes lines behind the
 * checkpoint that begin with a brace for ours.
 */
import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import {
  SettleFirst,
  type SinkBatch,
  type SinkContext,
  type SinkKind,
  type SinkTarget,
  TargetLost,
} from '../../delivery/contract.ts';
import { deliveryErrors } from '../../delivery/errors.ts';
import { makeDirectory } from '../../kernel/directory.ts';
import type { FileLock } from '../../kernel/file-lock.ts';
import type { Logger } from '../../kernel/log.ts';
import { type FileConfig, fileConfig } from './config.ts';
import {
  closeTornLine,
  cutBack,
  type FileIdentity,
  type FileState,
  identity,
  identityOf,
  isOurs,
  type Repeats,
  same,
  syncFolderOf,
  tailSum,
} from './file-state.ts';
import { gatherLines } from './lines.ts';
import { forgetHolder, type LockedFile, openLocked, tellHolder } from './log-lock.ts';
import { rotatedName } from './rotated.ts';
import { StdoutTarget } from './stdout.ts';
import { Tidy } from './tidy.ts';

/** Bytes between two syncs of the file: a larger flush would hold up the journal's fdatasync. */
const SYNC_BYTES = 8 * 2 ** 20;
const COPY_BYTES = 2 ** 20;

const nextName = (path: string): string => `${path}.next`;

/** What the name says about the open file. changed: it is ours, but others have cut it or appended to it. */
type Found = 'ours' | 'changed' | 'moved' | 'removed';

class FileTarget implements SinkTarget {
  readonly inFlightMax = 1;
  readonly #config: FileConfig;
  readonly #path: string;
  readonly #journal: boolean;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #tidy: Tidy;
  #fd = -1;
  #lock: FileLock = { release: () => undefined };
  #identity: FileIdentity = { dev: 0, ino: 0 };
  #length = 0;
  /** Length when the name last led to the file: what came later may have gone into a file without a name. */
  #seen = 0;
  /** Bytes that a failed write may have left behind `length`, because they could not be taken back. */
  #torn = 0;
  #unsynced = 0;
  /** The last checkpoint describes the open file. Read only with a journal: without one no record comes twice. */
  #known = false;
  /** The name leads elsewhere: after the checkpoint of this file the sink goes on there. */
  #moved = false;
  #lines = Buffer.alloc(0);
  /** The rotation that the last settle() has announced. */
  #next: (FileIdentity & LockedFile) | undefined;
  readonly #repeats: Repeats;

  constructor(config: FileConfig, context: SinkContext, now: () => number) {
    this.#config = config;
    this.#path = resolve(config.logPath);
    makeDirectory(dirname(this.#path));
    this.#journal = context.journal;
    this.#repeats = { left: context.repeats ?? Number.POSITIVE_INFINITY };
    this.#log = context.log;
    this.#now = now;
    this.#tidy = new Tidy({ path: this.#path, config, log: context.log, now });
    const state = context.journal ? (context.state as FileState | undefined) : undefined;
    const found = statSync(this.#path, { throwIfNoEntry: false });
    if (found !== undefined && !found.isFile())
      throw deliveryErrors.SINK_STOPPED({
        sink: context.name,
        reason: `LOG_PATH must name a file: path=${this.#path}`,
      });
    try {
      this.#open(state);
    } catch (error) {
      this.#letGo();
      throw error;
    }
    tellHolder(this.#path);
    this.#tidy.run();
  }

  #open(state: FileState | undefined): void {
    if (state !== undefined) this.#finishRotation(state);
    this.#take(openLocked(this.#path));
    if (state === undefined) this.#closeTornLine();
    else if (isOurs(this.#fd, state)) this.#cut(state);
    else {
      // The rotation was done; what the new file holds came after the checkpoint.
      if (same(this.#identity, state.next)) this.#cutBack(0);
      else if (!this.#cutMoved(state))
        this.#log.warn(
          { path: state.path },
          'the log file of the checkpoint is gone; events after the checkpoint may be in both files',
        );
      this.#closeTornLine();
    }
    this.#seen = this.#length;
  }

  /** The folder may have gone with the file. */
  #openNamed(): LockedFile {
    makeDirectory(dirname(this.#path));
    return openLocked(this.#path);
  }

  /** From now on the sink writes to this file. */
  #take({ fd, lock }: LockedFile): void {
    this.#letGo();
    this.#fd = fd;
    this.#lock = lock;
    const found = fstatSync(fd);
    this.#identity = identityOf(found);
    this.#length = found.size;
    this.#seen = found.size;
    this.#torn = 0;
    this.#unsynced = 0;
    this.#known = false;
    this.#moved = false;
  }

  #letGo(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    this.#lock.release();
    this.#lock = { release: () => undefined };
  }

  #closeTornLine(): void {
    this.#length = closeTornLine(this.#fd, this.#length);
  }

  #cut(state: FileState): void {
    const { path, length } = state;
    const size = this.#length;
    // Cut while nobody ran, or a new file with the inode of one that a rotation has compressed and removed: then the
    // file behind that rotation was moved.
    if (size < length && !this.#cutMoved(state))
      this.#log.warn({ path, bytes: size, expected: length }, 'the log file is shorter than its checkpoint; appending');
    else if (size > length && state.closed) this.#tellAppended(size - length);
    else if (size > length) this.#cutBack(length);
    if (size !== length) this.#closeTornLine();
  }

  #cutBack(length: number): void {
    const foreign = cutBack(this.#fd, length, this.#repeats);
    this.#length = length + foreign;
    if (foreign > 0) this.#tellAppended(foreign);
  }

  #tellAppended(bytes: number): void {
    this.#log.warn(
      { path: this.#path, bytes },
      'another program, or another copy of this journal, has appended to the log file; continuing after that',
    );
  }

  /**
   * The file was moved while the collector was down, or in its last second (logrotate, another LOG_PATH). It is found
   * by its inode in its old folder and cut there; so is the file that a rotation had put in its place. Returns whether
   * one of them is there: all that came after the checkpoint went into the second one, if there is one.
   */
  #cutMoved(state: FileState): boolean {
    const folder = dirname(state.path);
    let found = false;
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      const path = join(folder, name);
      const stats = statSync(path, { throwIfNoEntry: false });
      // Not the open file under another name: to close a second descriptor of it would drop its lock.
      if (stats === undefined || !stats.isFile() || same(identityOf(stats), this.#identity)) continue;
      const rotated = same(identityOf(stats), state.next);
      if (!rotated && !same(identityOf(stats), state)) continue;
      const fd = openSync(path, 'r+');
      try {
        if (!rotated && !isOurs(fd, state)) continue;
        found = true;
        const length = rotated ? 0 : state.length;
        if (stats.size > length && !(state.closed && !rotated)) {
          cutBack(fd, length, this.#repeats);
          fsyncSync(fd);
        }
      } finally {
        closeSync(fd);
      }
    }
    return found;
  }

  /** Finishes a rotation that a crash interrupted. Before the first rename there is nothing to finish. */
  #finishRotation(state: FileState): void {
    const next = nextName(state.path);
    const waiting = statSync(next, { throwIfNoEntry: false });
    if (waiting === undefined) return;
    const current = statSync(state.path, { throwIfNoEntry: false });
    if (current === undefined && state.next !== undefined && same(waiting, state.next)) renameSync(next, state.path);
    else if (current !== undefined && waiting.size === 0) rmSync(next);
  }

  get settleDue(): boolean {
    return (this.#journal && (!this.#known || this.#moved)) || this.#rotates;
  }

  get #rotates(): boolean {
    const { logRotateBytes } = this.#config;
    return logRotateBytes > 0 && this.#length >= logRotateBytes;
  }

  /** Compares the name with the open file, and takes in what others have done to it. */
  #check(): Found {
    const named = statSync(this.#path, { throwIfNoEntry: false });
    if (named === undefined || !same(identityOf(named), this.#identity))
      return fstatSync(this.#fd).nlink > 0 ? 'moved' : 'removed';
    if (named.size > this.#length && named.size <= this.#length + this.#torn) ftruncateSync(this.#fd, this.#length);
    else if (named.size !== this.#length) {
      if (named.size > this.#length) this.#tellAppended(named.size - this.#length);
      else
        this.#log.warn(
          { path: this.#path, bytes: named.size, expected: this.#length },
          'the log file was truncated; appending',
        );
      this.#known = false;
      this.#length = named.size;
      this.#closeTornLine();
      this.#seen = this.#length;
      return 'changed';
    }
    this.#torn = 0;
    this.#seen = this.#length;
    return 'ours';
  }

  async look(): Promise<boolean> {
    this.#tidy.look();
    return this.#check() !== 'ours' || this.settleDue;
  }

  /** The file has no name any more. Without a journal nothing comes again: the last bytes are copied. */
  #remake(): void {
    if (this.#journal) {
      this.#log.warn(
        { path: this.#path },
        'the log file was deleted; creating it again and rewriting what was written since the last checkpoint',
      );
      throw new TargetLost(`the log file was deleted: path=${this.#path}`);
    }
    this.#log.warn({ path: this.#path }, 'the log file was deleted; creating it again');
    const fresh = this.#openNamed();
    const chunk = Buffer.allocUnsafe(Math.min(COPY_BYTES, this.#length - this.#seen));
    for (let at = this.#seen; at < this.#length; ) {
      const n = readSync(this.#fd, chunk, 0, Math.min(chunk.length, this.#length - at), at);
      if (n === 0) break;
      for (let done = 0; done < n; ) done += writeSync(fresh.fd, chunk, done, n - done);
      at += n;
    }
    this.#take(fresh);
    tellHolder(this.#path);
  }

  async write(batch: SinkBatch): Promise<void> {
    if (batch.count === 0) return;
    if (this.#lines.length < batch.buffer.length) this.#lines = Buffer.allocUnsafeSlow(batch.buffer.length);
    const bytes = gatherLines(batch, this.#lines);
    this.#compare();
    if (this.#moved && !this.#journal) this.#follow();
    if (this.#journal && (!this.#known || this.#moved))
      throw new SettleFirst(`the checkpoint does not know the log file as it is: path=${this.#path}`);
    try {
      for (let done = 0; done < bytes; )
        done += writeSync(this.#fd, this.#lines, done, bytes - done, this.#length + done);
    } catch (error) {
      // Half a batch must not stay: readers would see a torn line and, after the retry, lines twice.
      this.#torn = bytes;
      ftruncateSync(this.#fd, this.#length);
      this.#torn = 0;
      throw error;
    }
    this.#length += bytes;
    this.#unsynced += bytes;
    if (this.#journal && this.#unsynced >= SYNC_BYTES) this.#sync();
  }

  /** Acts on what #check() has found, as far as no checkpoint is needed for it. */
  #compare(): void {
    const found = this.#check();
    if (found === 'removed') this.#remake();
    this.#moved = found === 'moved';
  }

  #sync(): void {
    try {
      fdatasyncSync(this.#fd);
    } catch (error) {
      throw new TargetLost(`the log file cannot be synced: ${(error as Error).message}`, { cause: error });
    }
    this.#unsynced = 0;
  }

  async settle(last = false): Promise<FileState> {
    // All that the checkpoint will cover is written by now, so it lay in a file with a name.
    this.#compare();
    if (this.#journal) this.#sync();
    if (this.#rotates && !this.#moved && this.#next === undefined) this.#prepareNext();
    const next = this.#next === undefined ? {} : { next: identity(this.#next.fd) };
    const closed = last && this.#next === undefined && !this.#moved ? { closed: true as const } : {};
    const tail = tailSum(this.#fd, this.#length);
    return { path: this.#path, ...this.#identity, length: this.#length, tail, ...next, ...closed };
  }

  #prepareNext(): void {
    const path = nextName(this.#path);
    const left = statSync(path, { throwIfNoEntry: false });
    // Left from a rotation that no checkpoint knows (the journal was removed). A file with content is kept under a
    // rotated name.
    if (left?.size === 0) rmSync(path);
    else if (left !== undefined) renameSync(path, rotatedName(this.#path, this.#now()));
    const { O_RDWR, O_CREAT, O_EXCL, O_APPEND } = constants;
    const next = openLocked(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND);
    if (this.#journal) {
      fsyncSync(next.fd);
      syncFolderOf(this.#path);
    }
    this.#next = { ...next, ...identity(next.fd) };
  }

  /** The checkpoint knows both files now: the new one may take the name. */
  async settled(): Promise<void> {
    this.#known = true;
    const next = this.#next;
    if (next === undefined) {
      if (this.#moved) this.#follow();
      return;
    }
    const named = statSync(this.#path, { throwIfNoEntry: false });
    const taken = named !== undefined && same(identityOf(named), next);
    if (named !== undefined && !taken) {
      // logrotate was first and the name belongs to another file: go on in that file, as after a SIGHUP.
      if (!same(identityOf(named), this.#identity)) return this.#follow();
      renameSync(this.#path, rotatedName(this.#path, this.#now()));
    }
    // Repeatable: when this rename has failed, the next try finds the name free and only repeats this rename.
    if (!taken) renameSync(nextName(this.#path), this.#path);
    if (this.#journal) syncFolderOf(this.#path);
    this.#next = undefined;
    this.#take(next);
    // The checkpoint knows it as the next one, empty.
    this.#known = true;
    this.#tidy.run();
  }

  /** Goes on in the file that has the name now, a new one if need be. A rotation that was prepared is dropped. */
  #follow(): void {
    if (this.#next !== undefined) {
      rmSync(nextName(this.#path), { force: true });
      this.#dropNext();
    }
    this.#log.warn(
      { path: this.#path },
      'the log file was moved or replaced; continuing in the file that now has its name',
    );
    this.#take(this.#openNamed());
    this.#closeTornLine();
    this.#seen = this.#length;
    tellHolder(this.#path);
  }

  #dropNext(): void {
    if (this.#next === undefined) return;
    closeSync(this.#next.fd);
    this.#next.lock.release();
    this.#next = undefined;
  }

  /** SIGHUP. A file that still has its name stays open: to close a descriptor of it would drop its lock. */
  async reopen(): Promise<void> {
    this.#compare();
    if (this.#moved) this.#follow();
  }

  async close(): Promise<void> {
    const held = this.#fd >= 0;
    if (held) forgetHolder(existsSync(this.#path) ? realpathSync(this.#path) : this.#path);
    this.#letGo();
    this.#dropNext();
    await this.#tidy.close();
  }
}

/** Errors that only an operator can mend. */
const OPERATOR: ReadonlySet<string> = new Set(['SINK_STOPPED', 'LOG_FILE_LOCKED', 'EPIPE']);

export const fileSink: SinkKind<FileConfig> = {
  name: 'log',
  config: fileConfig,
  waits: 'blocking',
  batching: (config) => ({ records: config.batchSize, bytes: 512 * 1024, flushMs: config.flushIntervalMs }),
  places: ({ logPath }) => [logPath === 'stdout' ? 'stdout' : resolve(logPath)],
  open: async (config, context) =>
    config.logPath === 'stdout' ? new StdoutTarget(context) : new FileTarget(config, context, Date.now),
  classify: (error) => (OPERATOR.has((error as { code?: string }).code ?? '') ? 'stop' : 'retry'),
};
