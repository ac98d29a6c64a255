/**
 * Keeper: makes the lanes durable and looks after their disk space. One thread; it never reads a record.
 *
 *   sync      fdatasync of what is published, then store `synced`; one call serves all that wait (group commit)
 *   spares    one zero-filled or recycled segment per lane is always ready, while the quota allows it
 *   trimming  the last segment of a lane of an earlier life ends where its frames end: it was made for more of them
 *   deletion  a segment goes when every sink's synced checkpoint has passed it (L4), and in addition its retention is
 *             over or the quota needs its place
 *   check     four times a second the rings are checked for R1
 *
 * A failed fdatasync is never repeated as if it could succeed (L7). The keeper asks the lane to write [synced, tail)
 * anew into another file; when that file cannot be synced either, intake ends.
 */
import { CheckpointFile, type CheckpointState } from './checkpoint.ts';
import { type Disk, isDiskFull, realDisk } from './disk.ts';
import { checkpointPath, defaultQuota, lanesFolder } from './journal.ts';
import { type CurrentSegment, FULL_DISK, FULL_NONE, FULL_QUOTA, LaneControl } from './lane-control.ts';
import type { FinishedLane } from './lane-reader.ts';
import { JournalFigures } from './metrics.ts';
import { checkRing, Ring } from './ring.ts';
import { type LaneId, laneFolder, laneName, PAGE, segmentBytesMin } from './segment.ts';
import { SegmentAges } from './segment-age.ts';
import { type SegmentFile, SegmentStore } from './segment-store.ts';
import { SinkBoard, type SinkBoardShared } from './sink-board.ts';

/**
 * First spare of a life: small, so that a start is quick; each next one is twice as large up to segmentBytes. A large
 * ring makes it larger, because the largest draft must fit.
 */
const FIRST_SEGMENT = 8 * 2 ** 20;
const QUOTA_LOOK_MS = 10_000;
const HOUSEKEEPING_MS = 250;
const DISK_RETRY_MS = 1000;

export interface KeeperSink {
  readonly name: string;
  /** Entry of a running sink on the board; undefined: the sink is absent, so its checkpoint file does not change. */
  readonly index: number | undefined;
  /** The quota may take segments that this sink has not delivered (ON_LAG=drop). */
  readonly drops: boolean;
  /** Lag in bytes at which intake pauses; 0: none. */
  readonly lagBytesMax: number;
}

export interface KeeperShared {
  readonly dir: string;
  readonly lanes: readonly { id: LaneId; ring: SharedArrayBuffer; control: SharedArrayBuffer }[];
  /** Lanes of earlier lives. */
  readonly finished: readonly FinishedLane[];
  readonly sinks: readonly KeeperSink[];
  /** SinkBoard; the keeper reads the sequence of each running sink's last synced checkpoint there. */
  readonly board: SinkBoardShared;
  readonly wake: SharedArrayBuffer;
  /** Figures for metrics, see JournalFigures. */
  readonly figures: SharedArrayBuffer;
  readonly segmentBytes: number;
  readonly quotaBytes: number;
  /** The quota grows with what is free, because JOURNAL_MAX_BYTES is not set. */
  readonly quotaGrows?: boolean;
  readonly retainMs: number;
  readonly syncIntervalMs: number;
  readonly syncGroupMs: number;
}

interface KeptLane {
  readonly id: LaneId;
  readonly ring: Ring;
  readonly control: LaneControl;
  rotations: number;
  fd: number;
  /** Files of earlier segments that hold bytes not synced yet. */
  readonly retired: number[];
  folderDirty: boolean;
  rescuing: boolean;
  syncFailures: number;
  nextBytes: number;
  spareBytes: number;
  retryAt: number;
  /** A law of its ring was found broken, and that was told. */
  broken: boolean;
}

export interface KeeperEvents {
  /** Seconds that the fdatasync of one lane took. */
  synced?(seconds: number): void;
  warn?(message: string, fields: Record<string, unknown>): void;
}

export class Keeper {
  readonly #shared: KeeperShared;
  readonly #disk: Disk;
  readonly #events: KeeperEvents;
  readonly #store: SegmentStore;
  readonly #ages = new SegmentAges();
  readonly #lanes: KeptLane[];
  readonly #checkpoints: { sink: KeeperSink; file: CheckpointFile; trusted: CheckpointState | undefined }[];
  readonly #board: SinkBoard;
  readonly #figures: JournalFigures;
  #lastSync = Number.NEGATIVE_INFINITY;
  #lastHousekeeping = Number.NEGATIVE_INFINITY;
  #usedBytes = 0;
  #quotaBytes: number;
  #lastQuotaLook = Number.NEGATIVE_INFINITY;
  #lastPublished = 0;

  constructor(shared: KeeperShared, disk: Disk = realDisk, events: KeeperEvents = {}) {
    this.#shared = shared;
    this.#disk = disk;
    this.#events = events;
    this.#store = new SegmentStore(lanesFolder(shared.dir), disk);
    this.#board = new SinkBoard(shared.board);
    this.#figures = new JournalFigures(shared.figures);
    this.#figures.set('quotaBytes', shared.quotaBytes);
    this.#quotaBytes = shared.quotaBytes;
    this.#lanes = shared.lanes.map(({ id, ring: memory, control }) => {
      disk.mkdir(this.#store.folder(id));
      const ring = new Ring(memory);
      return {
        id,
        ring,
        control: new LaneControl(control),
        rotations: 0,
        fd: -1,
        retired: [],
        folderDirty: true,
        rescuing: false,
        syncFailures: 0,
        nextBytes: Math.min(Math.max(FIRST_SEGMENT, this.#leastBytes(ring)), shared.segmentBytes),
        spareBytes: 0,
        retryAt: 0,
        broken: false,
      };
    });
    this.#checkpoints = shared.sinks.map((sink) => ({
      sink,
      file: new CheckpointFile(checkpointPath(shared.dir, sink.name), disk),
      trusted: undefined,
    }));
    this.#resume();
    disk.syncFolder(lanesFolder(shared.dir));
    this.#store.clearStrangers();
    for (const lane of shared.finished) this.#store.trim(lane.id, lane.end.position);
    this.#store.adoptLeftovers((lane) => this.#lanes.some((kept) => laneFolder(kept.id) === laneFolder(lane)));
  }

  /** The smallest segment that any draft of the lane fits. */
  #leastBytes(ring: Ring): number {
    return Math.min(segmentBytesMin(ring.capacity), this.#shared.segmentBytes);
  }

  /** A keeper that replaces a dead one finds files in use. It syncs again what is published, and keeps the spares. */
  #resume(): void {
    for (const lane of this.#lanes) {
      const current = this.#current(lane);
      this.#store.resume(lane.id, lane.control.spare()?.serial);
      if (current.rotations === 0) continue;
      lane.fd = current.fd;
      lane.rotations = current.rotations;
      lane.nextBytes = this.#shared.segmentBytes;
      lane.spareBytes = lane.control.spareBytes();
      lane.rescuing = lane.control.rescue() || lane.control.failed();
      // The dead keeper's open files are unknown here. Segments that it had still to sync are opened anew, by name.
      for (const path of this.#store.unsynced(lane.id, lane.ring.synced(), current.base))
        lane.retired.push(this.#disk.open(path, 'r+'));
    }
  }

  /** Does what is due. Returns for how many ms the thread may sleep, unless somebody wakes it. */
  step(now: number): number {
    this.#observe();
    let sleep = HOUSEKEEPING_MS;
    const pending = this.#lanes.some((lane) => lane.ring.tail() > lane.ring.synced() && !lane.rescuing);
    if (pending) {
      const wanted = this.#lanes.some((lane) => lane.control.wanted() > lane.ring.synced());
      const due = this.#lastSync + (wanted ? this.#shared.syncGroupMs : this.#shared.syncIntervalMs);
      if (now >= due) {
        this.#syncAll();
        this.#lastSync = now;
        sleep = Math.min(sleep, this.#shared.syncIntervalMs);
      } else sleep = Math.min(sleep, due - now);
    }
    if (now - this.#lastHousekeeping >= HOUSEKEEPING_MS) {
      this.#housekeeping(now);
      this.#lastHousekeeping = now;
    }
    for (const lane of this.#lanes) sleep = Math.min(sleep, this.#supply(lane, now));
    return sleep;
  }

  /** Whether anything is published and not synced, or a spare is missing. Asked once more before a deep sleep. */
  get busy(): boolean {
    return this.#lanes.some(
      ({ ring, control }) => !control.failed() && (ring.tail() > ring.synced() || !control.spareReady()),
    );
  }

  /** Spins for the few stores of a rotation that is under way. */
  #current(lane: KeptLane): CurrentSegment {
    for (;;) {
      const current = lane.control.current();
      if (current !== undefined) return current;
    }
  }

  #observe(): void {
    for (const lane of this.#lanes) {
      const current = this.#current(lane);
      if (current.rotations === lane.rotations) continue;
      if (lane.rescuing && !lane.control.rescue()) {
        // The lane has started over from `synced`: nobody reads the files whose fdatasync failed any more.
        for (const fd of [...lane.retired, lane.fd]) this.#disk.close(fd);
        lane.retired.length = 0;
        lane.rescuing = false;
      } else if (lane.fd >= 0) lane.retired.push(lane.fd);
      lane.fd = current.fd;
      lane.rotations = current.rotations;
      lane.folderDirty = true;
      lane.spareBytes = 0;
    }
  }

  #syncAll(): void {
    for (const lane of this.#lanes) {
      // A rescue ends when #observe() sees the rotation. Before that, an fdatasync of the old files could succeed and
      // mean nothing.
      if (lane.rescuing) this.#observe();
      if (lane.rescuing) continue;
      // Read tail first, then look which files hold it. In the other order a rotation between the two would be missed.
      const tail = lane.ring.tail();
      if (tail <= lane.ring.synced()) continue;
      this.#observe();
      const begin = performance.now();
      try {
        for (const fd of lane.retired) this.#disk.fdatasync(fd);
        this.#disk.fdatasync(lane.fd);
        if (lane.folderDirty) {
          this.#disk.syncFolder(this.#store.folder(lane.id));
          lane.folderDirty = false;
        }
      } catch (error) {
        this.#syncFailed(lane, error);
        continue;
      }
      for (const fd of lane.retired) this.#disk.close(fd);
      lane.retired.length = 0;
      lane.syncFailures = 0;
      lane.ring.setSynced(tail);
      this.#figures.set('syncs', this.#figures.get('syncs') + 1);
      this.#events.synced?.((performance.now() - begin) / 1000);
    }
  }

  #syncFailed(lane: KeptLane, error: unknown): void {
    this.#figures.set('syncErrors', this.#figures.get('syncErrors') + 1);
    lane.syncFailures += 1;
    lane.rescuing = true;
    const fields = { lane: laneName(lane.id), error: String(error) };
    if (lane.syncFailures > 1) {
      // No third try: each would cost another segment. Intake ends, delivery goes on.
      lane.control.setFailed();
      this.#figures.set('failed', 1);
      this.#events.warn?.('the journal cannot be synced; intake stops', fields);
      return;
    }
    this.#events.warn?.('fdatasync failed; rewriting the unsynced part of the lane', fields);
    lane.control.setRescue(true);
  }

  /** Provides the lane's spare, one piece of work per call. Returns for how many ms it has nothing to do. */
  #supply(lane: KeptLane, now: number): number {
    if (lane.control.spareReady() || lane.control.failed()) return Number.POSITIVE_INFINITY;
    const refused = lane.control.takeRefused();
    if (refused !== undefined) {
      this.#disk.close(refused.fd);
      this.#store.release(this.#store.sparePath(lane.id, refused.serial), refused.bytes);
      // What is not synced fits the ring, so a segment as large as the ring will do.
      lane.nextBytes = Math.max(lane.nextBytes, lane.ring.capacity + PAGE);
      lane.spareBytes = 0;
    }
    if (now < lane.retryAt) return lane.retryAt - now;
    try {
      if (!this.#store.filling(lane.id)) {
        // No spare before #observe() has seen the last rotation: with two at once, the keeper would miss one.
        if (lane.control.rotations() !== lane.rotations) return 0;
        const bytes = lane.nextBytes;
        const recycled = this.#store.recycle(lane.id, bytes);
        if (recycled !== undefined) return this.#offer(lane, recycled);
        if (this.#usedBytes + bytes > this.#quotaBytes && !this.#free(bytes, now)) {
          lane.control.setFull(FULL_QUOTA);
          // Looking for room reads folders and checkpoints, which is too much for every round.
          lane.retryAt = now + HOUSEKEEPING_MS;
          return HOUSEKEEPING_MS;
        }
        const freed = this.#store.recycle(lane.id, bytes);
        if (freed !== undefined) return this.#offer(lane, freed);
        this.#store.start(lane.id, bytes);
        this.#usedBytes += bytes;
      }
      const spare = this.#store.step(lane.id);
      if (spare === undefined) return 0;
      return this.#offer(lane, spare);
    } catch (error) {
      this.#store.abandon(lane.id);
      if (lane.control.full() !== FULL_DISK)
        this.#events.warn?.('a segment cannot be created; retrying', { lane: laneName(lane.id), error: String(error) });
      lane.control.setFull(FULL_DISK);
      // What is delivered makes way for what comes, and a smaller segment does where a large one does not fit.
      const made = isDiskFull(error) && this.#giveBack(now);
      if (isDiskFull(error))
        lane.nextBytes = Math.max(this.#leastBytes(lane.ring), Math.floor(lane.nextBytes / 2 / PAGE) * PAGE);
      const wait = made ? HOUSEKEEPING_MS : DISK_RETRY_MS;
      lane.retryAt = now + wait;
      return wait;
    }
  }

  #offer(lane: KeptLane, spare: { fd: number; serial: number; bytes: number }): number {
    lane.control.setFull(FULL_NONE);
    lane.spareBytes = spare.bytes;
    lane.nextBytes = Math.min(this.#shared.segmentBytes, 2 * spare.bytes);
    lane.control.offerSpare(spare);
    return Number.POSITIVE_INFINITY;
  }

  #housekeeping(now: number): void {
    this.#readCheckpoints();
    const files = this.#store.files();
    this.#ages.look(files, now);
    for (const file of files) {
      const expired = file.replaced || this.#ages.of(file, now) >= this.#shared.retainMs;
      if (expired && this.#deletable(file)) this.#store.release(file.path, file.bytes);
    }
    this.#store.trimPool(this.#shared.segmentBytes, this.#lanes.length);
    this.#removeEmptyLanes();
    this.#measure(now);
    this.#growQuota(now);
    this.#applyLagLimits();
    this.#checkRings();
  }

  /**
   * A ring that breaks R1 has overwritten bytes that are not on disk yet. After a failed fdatasync they are missing
   * (L2), and nothing else would show it. Costs four loads per lane; told once per lane: it stays broken.
   */
  #checkRings(): void {
    for (const lane of this.#lanes) {
      if (lane.broken) continue;
      try {
        checkRing(lane.ring, true);
      } catch (error) {
        lane.broken = true;
        this.#events.warn?.('a ring has broken its invariants; this is a bug, please report it', {
          lane: laneName(lane.id),
          error: String(error),
        });
      }
    }
  }

  #measure(now: number): void {
    const files = this.#store.files();
    let bytes = this.#store.idleBytes(
      this.#lanes.reduce((sum, lane) => sum + (lane.control.spareReady() ? lane.spareBytes : 0), 0),
    );
    for (const file of files) bytes += file.bytes;
    this.#usedBytes = bytes;
    this.#figures.set('usedBytes', bytes);
    this.#figures.set('segments', files.length);
    const published = this.#lanes.reduce((sum, lane) => sum + lane.ring.tail(), 0);
    const seconds = (now - this.#lastHousekeeping) / 1000;
    if (Number.isFinite(seconds) && seconds > 0) {
      const rate = (published - this.#lastPublished) / seconds;
      // Smoothed over about ten seconds, so that ringmain_journal_seconds_left does not jump.
      const before = this.#figures.get('rateBytesPerSecond');
      this.#figures.set('rateBytesPerSecond', before + (rate - before) * Math.min(1, seconds / 10));
    }
    this.#lastPublished = published;
  }

  /**
   * Makes room for `bytes`: takes delivered segments before their retention is over, then those that only dropping
   * sinks want.
   */
  #free(bytes: number, now: number): boolean {
    this.#readCheckpoints();
    this.#measure(now);
    const fits = () => this.#usedBytes + bytes <= this.#quotaBytes;
    for (const dropping of [false, true]) {
      for (const file of this.#store.files()) {
        if (fits()) return true;
        if (!this.#deletable(file, dropping)) continue;
        this.#store.release(file.path, file.bytes);
        if (file.bytes === bytes) return true;
        this.#store.trimPool(bytes, 0);
        this.#usedBytes -= file.bytes;
      }
    }
    return fits();
  }

  /** The disk is full before the quota is: removes the oldest delivered segment. Returns whether there was one. */
  #giveBack(now: number): boolean {
    this.#readCheckpoints();
    const file = this.#store.files().find((found) => this.#deletable(found));
    if (file !== undefined) this.#store.release(file.path, file.bytes);
    this.#store.trimPool(0, 0);
    this.#measure(now);
    return file !== undefined;
  }

  #growQuota(now: number): void {
    if (this.#shared.quotaGrows !== true || now - this.#lastQuotaLook < QUOTA_LOOK_MS) return;
    this.#lastQuotaLook = now;
    this.#quotaBytes = Math.max(this.#quotaBytes, defaultQuota(this.#shared.dir, this.#usedBytes));
    this.#figures.set('quotaBytes', this.#quotaBytes);
  }

  /** Whether no sink needs the file any more. `dropping`: the needs of sinks with ON_LAG=drop do not count. */
  #deletable(file: SegmentFile, dropping = false): boolean {
    const live = this.#lanes.find((lane) => laneFolder(lane.id) === laneFolder(file.lane));
    // The segment being written stays, and so does what is not synced yet: a rescue may still replace it.
    if (live !== undefined && (file.end === Number.POSITIVE_INFINITY || file.end > live.ring.synced())) return false;
    if (file.replaced) return true;
    return this.#checkpoints.every(({ sink, trusted }) => {
      if (dropping && sink.drops) return true;
      if (trusted === undefined || trusted.life < file.lane.life) return false;
      if (trusted.life > file.lane.life) return true;
      const mark = trusted.lanes.find(([lane]) => lane === file.lane.lane);
      return mark !== undefined && file.end <= mark[1];
    });
  }

  #readCheckpoints(): void {
    for (const checkpoint of this.#checkpoints) {
      const stored = checkpoint.file.read();
      if (stored === undefined) continue;
      const { index } = checkpoint.sink;
      // A checkpoint that is written but not synced could still vanish in a power cut, and its events with the segment.
      if (index === undefined || stored.sequence <= this.#board.checkpoint(index)) checkpoint.trusted = stored.state;
    }
  }

  #removeEmptyLanes(): void {
    const live = new Set(this.#lanes.map((lane) => laneFolder(lane.id)));
    this.#store.adoptLeftovers((lane) => live.has(laneFolder(lane)));
  }

  #applyLagLimits(): void {
    for (const lane of this.#lanes) {
      const paused = this.#checkpoints.some(({ sink }) => {
        if (sink.lagBytesMax === 0 || sink.drops || sink.index === undefined) return false;
        return lane.ring.tail() - lane.ring.cursor(sink.index) > sink.lagBytesMax;
      });
      lane.control.setPaused(paused);
    }
  }

  /** Syncs everything published, for the end of a drain. */
  finish(): void {
    this.#observe();
    this.#syncAll();
    this.#disk.syncFolder(lanesFolder(this.#shared.dir));
  }
}
