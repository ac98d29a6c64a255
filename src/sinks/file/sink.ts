/**
 * File sink (`log`): NDJSON to one growing file, or to standard output.
 *
 *   delivery   exactly once across kill -9: the checkpoint holds the file's device, inode and length. A start cuts the
 *              file back to that length and delivers again from there. Standard output: at least once
 *   safety     the sink cuts a file only when device, inode and last bytes are those of the checkpoint: the system
 *              gives the inode of a removed file to a new one
 *   rotation   the next file is made and checkpointed before it takes the name, so a crash at any step is undone or
 *              finished
 *   logrotate  a file that was cut (copytruncate), or a new file under the name, is written to only after a checkpoint
 *              describes it. When the process dies before it sees the cut, the lines since the last checkpoint may also
 *              stand in logrotate's copy
 *   full disk  a failed write is taken back and repeated; intake goes on until the journal's quota
 *   sync       a failed fdatasync is not repeated, because nobody knows what the kernel has kept. The file is cut back
 *              to its checkpoint and written anew
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
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Piscina } from 'piscina';
import {
  SettleFirst,
  type SinkBatch,
  type SinkContext,
  type SinkKind,
  type SinkTarget,
  TargetLost,
} from '../../delivery/contract.ts';
import { deliveryErrors } from '../../delivery/errors.ts';
import { at as field, jsonStart } from '../../events/record.ts';
import { makeDirectory } from '../../kernel/directory.ts';
import type { Logger } from '../../kernel/log.ts';
import { block } from '../../kernel/threads/wake.ts';
import { type FileConfig, fileConfig } from './config.ts';
import { pruneRotated, rotatedFiles, rotatedName } from './rotated.ts';

/** Bytes between two syncs of the file: a larger flush would hold up the journal's fdatasync. */
const SYNC_BYTES = 8 * 2 ** 20;
const STDOUT_NAP_MS = 5;
const TAIL_BYTES = 4096;

interface FileIdentity {
  readonly dev: number;
  readonly ino: number;
  /** When the inode was made, ms since 1970. Missing in checkpoints of older versions. */
  readonly born?: number;
}
/** What the checkpoint holds. */
interface FileState extends FileIdentity {
  readonly path: string;
  readonly length: number;
  /** CRC-32 of the last bytes before `length`, see tailSum(). */
  readonly tail: number;
  /** The rotation that follows this checkpoint: the file that will take the name. */
  readonly next?: FileIdentity;
}

const nextName = (path: string): string => `${path}.next`;
const identityOf = ({ dev, ino, birthtimeMs }: Stats): FileIdentity => ({ dev, ino, born: birthtimeMs });
const identity = (fd: number): FileIdentity => identityOf(fstatSync(fd));
/**
 * Whether both are one file. A disk may come back with another device number (a reboot, a volume that is attached to
 * another host): then inode and time of birth decide. File systems that know no time of birth leave it to the device.
 */
const same = (a: FileIdentity, b: FileIdentity | undefined): boolean =>
  a.ino === b?.ino && (a.dev === b.dev || (a.born !== undefined && a.born > 0 && a.born === b.born));

/** CRC-32 of the last bytes of [0, length), of 4 KiB at most. */
function tailSum(fd: number, length: number): number {
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
function isOurs(fd: number, state: FileState): boolean {
  const found = fstatSync(fd);
  return same(identityOf(found), state) && (found.size < state.length || tailSum(fd, state.length) === state.tail);
}

function syncFolderOf(path: string): void {
  const fd = openSync(dirname(path), 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Copies the lines of the records, each with its newline, one after the other. Returns their bytes. */
function gatherLines(batch: SinkBatch, into: Buffer): number {
  const { buffer, offsets, count } = batch;
  let end = 0;
  for (let i = 0; i < count; i++) {
    const record = offsets[i];
    const from = jsonStart(record);
    end += buffer.copy(into, end, from, from + buffer.readUInt32LE(record + field.jsonLength) + 1);
  }
  return end;
}

class FileTarget implements SinkTarget {
  readonly inFlightMax = 1;
  readonly #config: FileConfig;
  /** Name of the output. */
  readonly #name: string;
  readonly #path: string;
  readonly #journal: boolean;
  readonly #log: Logger;
  readonly #now: () => number;
  #fd = -1;
  #length = 0;
  #unsynced = 0;
  /** The last checkpoint describes the open file. Read only with a journal: without one no record comes twice. */
  #known = false;
  #lines = Buffer.alloc(0);
  /** The rotation that the last settle() has announced. */
  #next: (FileIdentity & { fd: number }) | undefined;
  #pool: Piscina<string, void> | undefined;

  constructor(config: FileConfig, context: SinkContext, now: () => number) {
    this.#config = config;
    this.#name = context.name;
    this.#path = resolve(config.logPath);
    makeDirectory(dirname(this.#path));
    this.#journal = context.journal;
    this.#log = context.log;
    this.#now = now;
    const state = context.journal ? (context.state as FileState | undefined) : undefined;
    this.#open(state);
    this.#tidy();
  }

  #open(state: FileState | undefined): void {
    const path = this.#path;
    if (state !== undefined) this.#finishRotation(state);
    this.#fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644);
    const found = fstatSync(this.#fd);
    if (!found.isFile()) {
      closeSync(this.#fd);
      throw deliveryErrors.SINK_STOPPED({ sink: this.#name, reason: `LOG_PATH must name a file: path=${path}` });
    }
    this.#length = found.size;
    if (state === undefined) this.#closeTornLine();
    else if (isOurs(this.#fd, state)) this.#cut(this.#fd, state, found.size);
    else if (same(identityOf(found), state.next)) {
      // The rotation was done; what the new file holds came after the checkpoint.
      ftruncateSync(this.#fd, 0);
      this.#length = 0;
    } else {
      this.#cutMoved(state);
      this.#closeTornLine();
    }
  }

  /** The last line may lack its newline: a writer without a journal was killed, or another program wrote it. */
  #closeTornLine(): void {
    const last = Buffer.alloc(1);
    if (this.#length === 0 || readSync(this.#fd, last, 0, 1, this.#length - 1) === 0 || last[0] === 10) return;
    this.#length += writeSync(this.#fd, '\n', this.#length);
  }

  #cut(fd: number, state: FileState, size: number): void {
    if (size > state.length) ftruncateSync(fd, state.length);
    if (size < state.length)
      this.#log.warn(
        { path: state.path, bytes: size, expected: state.length },
        'the log file is shorter than its checkpoint; appending',
      );
    this.#length = Math.min(size, state.length);
    if (size < state.length) this.#closeTornLine();
  }

  /**
   * The file was moved while the collector was down (logrotate, another LOG_PATH): it is found by its inode in its old
   * folder, and cut there.
   */
  #cutMoved(state: FileState): void {
    const folder = dirname(state.path);
    if (!existsSync(folder)) return;
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      const found = statSync(path, { throwIfNoEntry: false });
      if (found === undefined || !found.isFile() || !same(identityOf(found), state)) continue;
      const fd = openSync(path, 'r+');
      try {
        if (!isOurs(fd, state)) continue;
        if (found.size > state.length) {
          ftruncateSync(fd, state.length);
          fsyncSync(fd);
        }
      } finally {
        closeSync(fd);
      }
      return;
    }
    this.#log.warn(
      { path: state.path },
      'the log file of the checkpoint is gone; events after the checkpoint may stand in it and here',
    );
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
    return (this.#journal && !this.#known) || this.#rotates;
  }

  get #rotates(): boolean {
    const { logRotateBytes } = this.#config;
    return logRotateBytes > 0 && this.#length >= logRotateBytes;
  }

  async write(batch: SinkBatch): Promise<void> {
    if (batch.count === 0) return;
    if (this.#lines.length < batch.buffer.length) this.#lines = Buffer.allocUnsafeSlow(batch.buffer.length);
    const bytes = gatherLines(batch, this.#lines);
    const found = fstatSync(this.#fd).size;
    if (found < this.#length) {
      // At the old length the write would leave a hole of zeros.
      this.#log.warn({ path: this.#path, bytes: found, expected: this.#length }, 'the log file was cut; appending');
      this.#known = false;
      this.#length = found;
      this.#closeTornLine();
    }
    if (this.#journal && !this.#known)
      throw new SettleFirst(`the checkpoint does not know the log file as it is: path=${this.#path}`);
    try {
      for (let done = 0; done < bytes; )
        done += writeSync(this.#fd, this.#lines, done, bytes - done, this.#length + done);
    } catch (error) {
      // Half a batch must not stay: readers would see a torn line and, after the retry, lines twice.
      ftruncateSync(this.#fd, this.#length);
      throw error;
    }
    this.#length += bytes;
    this.#unsynced += bytes;
    if (this.#journal && this.#unsynced >= SYNC_BYTES) this.#sync();
  }

  #sync(): void {
    try {
      fdatasyncSync(this.#fd);
    } catch (error) {
      throw new TargetLost(`the log file cannot be synced: ${(error as Error).message}`, { cause: error });
    }
    this.#unsynced = 0;
  }

  async settle(): Promise<FileState> {
    if (this.#journal) this.#sync();
    if (this.#rotates && this.#next === undefined) this.#prepareNext();
    const next = this.#next === undefined ? {} : { next: identity(this.#next.fd) };
    const tail = tailSum(this.#fd, this.#length);
    return { path: this.#path, ...identity(this.#fd), length: this.#length, tail, ...next };
  }

  #prepareNext(): void {
    const path = nextName(this.#path);
    const left = statSync(path, { throwIfNoEntry: false });
    // Left from a rotation that no checkpoint knows (the journal was removed). A file with content is kept under a
    // rotated name.
    if (left?.size === 0) rmSync(path);
    else if (left !== undefined) renameSync(path, rotatedName(this.#path, this.#now()));
    const fd = openSync(path, 'wx+', 0o644);
    if (this.#journal) {
      fsyncSync(fd);
      syncFolderOf(this.#path);
    }
    this.#next = { fd, ...identity(fd) };
  }

  /** The checkpoint knows both files now: the new one may take the name. */
  async settled(): Promise<void> {
    this.#known = true;
    const next = this.#next;
    if (next === undefined) return;
    const named = statSync(this.#path, { throwIfNoEntry: false });
    if (named !== undefined && !same(identityOf(named), next)) {
      if (!same(identityOf(named), identity(this.#fd))) {
        // logrotate was first and the name belongs to another file: go on in that file, as after a SIGHUP.
        rmSync(nextName(this.#path), { force: true });
        closeSync(next.fd);
        this.#next = undefined;
        return this.reopen();
      }
      renameSync(this.#path, rotatedName(this.#path, this.#now()));
    }
    // Repeatable: when this rename has failed, the next try finds the name free and only repeats this rename.
    if (named === undefined || !same(identityOf(named), next)) renameSync(nextName(this.#path), this.#path);
    if (this.#journal) syncFolderOf(this.#path);
    closeSync(this.#fd);
    this.#fd = next.fd;
    this.#length = 0;
    this.#unsynced = 0;
    this.#next = undefined;
    this.#tidy();
  }

  /** Compresses and removes rotated files, in the background; a failure costs disk space, not events. */
  #tidy(): void {
    const { logBackups, logMaxAgeDays, logCompress } = this.#config;
    try {
      pruneRotated(this.#path, logBackups, logMaxAgeDays, this.#now());
      if (!logCompress) return;
      for (const file of rotatedFiles(this.#path)) if (!file.endsWith('.gz')) void this.#compress(file);
    } catch (error) {
      this.#log.warn({ error: String(error) }, 'rotated files cannot be tidied');
    }
  }

  async #compress(file: string): Promise<void> {
    try {
      // Loaded only with LOG_COMPRESS: the pool takes memory.
      const { Piscina: Pool } = await import('piscina');
      this.#pool ??= new Pool<string, void>({
        filename: new URL(`./rotated${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url).href,
        minThreads: 0,
        maxThreads: 1,
        idleTimeout: 1000,
      });
      await this.#pool.run(file);
    } catch (error) {
      this.#log.warn({ file: basename(file), error: String(error) }, 'a rotated file cannot be compressed');
    }
  }

  /** Opens the name anew: logrotate may have moved our file away. */
  async reopen(): Promise<void> {
    const fd = openSync(this.#path, constants.O_RDWR | constants.O_CREAT, 0o644);
    closeSync(this.#fd);
    this.#fd = fd;
    this.#known = false;
    this.#length = fstatSync(fd).size;
    this.#closeTornLine();
    this.#unsynced = 0;
  }

  async close(): Promise<void> {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    if (this.#next !== undefined) closeSync(this.#next.fd);
    await this.#pool?.close();
  }
}

/** Standard output. A pipe may be slow or full, so each write continues where the one before ended. */
class StdoutTarget implements SinkTarget {
  readonly inFlightMax = 1;
  readonly #name: string;
  readonly #ended: () => boolean;
  #lines = Buffer.alloc(0);

  constructor(context: SinkContext) {
    this.#name = context.name;
    this.#ended = context.ended;
  }

  async write(batch: SinkBatch): Promise<void> {
    if (this.#lines.length < batch.buffer.length) this.#lines = Buffer.allocUnsafeSlow(batch.buffer.length);
    const bytes = gatherLines(batch, this.#lines);
    for (let done = 0; done < bytes; ) {
      try {
        done += writeSync(1, this.#lines, done, bytes - done);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        // The reader of the pipe is slow. To give up in the middle of a line is right only when the process has to end.
        if (this.#ended())
          throw deliveryErrors.SINK_WRITE({ sink: this.#name, reason: 'stdout is blocked and the process has to end' });
        block(STDOUT_NAP_MS);
      }
    }
  }

  async close(): Promise<void> {}
}

export const fileSink: SinkKind<FileConfig> = {
  name: 'log',
  config: fileConfig,
  waits: 'blocking',
  batching: (config) => ({ records: config.batchSize, bytes: 512 * 1024, flushMs: config.flushIntervalMs }),
  open: async (config, context) =>
    config.logPath === 'stdout' ? new StdoutTarget(context) : new FileTarget(config, context, Date.now),
  classify: (error) =>
    (error as { code?: string }).code === 'SINK_STOPPED' || (error as { code?: string }).code === 'EPIPE'
      ? 'stop'
      : 'retry',
};
