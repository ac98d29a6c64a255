/**
 * Engine: opens the log and lays out the shared memory that the threads work on. The result is plain data and shared
 * buffers, so that it reaches every thread through workerData.
 */

import { randomBytes } from 'node:crypto';
import { errors } from '../kernel/errors.ts';
import { ThreadBoard } from '../kernel/threads/board.ts';
import { FIRST_OUTPUT_SEAT } from '../kernel/threads/roster.ts';
import { createWakeWords } from '../kernel/threads/wake.ts';
import { CheckpointFile, type CheckpointState, NO_LANES } from './checkpoint.ts';
import type { EngineConfig } from './config.ts';
import { type Disk, realDisk } from './disk.ts';
import {
  checkpointPath,
  defaultQuota,
  lanesFolder,
  listSinks,
  openJournal,
  readCheckpoint,
  sinksFolder,
} from './journal.ts';
import type { KeeperShared, KeeperSink } from './keeper.ts';
import type { LaneShared } from './lane.ts';
import { createLaneControl } from './lane-control.ts';
import type { FinishedLane, LiveLane } from './lane-reader.ts';
import type { WatchedLanes } from './lane-watcher.ts';
import { branchOf, isOfBranch, type Lives, livesOf, movedToBranch } from './lineage.ts';
import { JournalFigures } from './metrics.ts';
import { recoverLanes } from './recovery.ts';
import { createRing } from './ring.ts';
import { type LaneId, newLifeId, PAGE, segmentBytesMin } from './segment.ts';
import { SegmentStore } from './segment-store.ts';
import { SinkBoard, type SinkBoardShared } from './sink-board.ts';

/** What a sink may ask of the engine. */
export interface SinkWish {
  readonly name: string;
  /** ON_LAG=drop. */
  readonly drops: boolean;
  /** 0: none. */
  readonly lagBytesMax: number;
}

export interface EngineOptions {
  readonly config: EngineConfig;
  /** Lanes of this life: one per thread that publishes. */
  readonly lanes: number;
  /** Running sinks; the index in this list is the sink's reader, and its seat less FIRST_OUTPUT_SEAT. */
  readonly sinks: readonly SinkWish[];
  /** Absent sinks whose segments are kept. */
  readonly keep: readonly string[];
  readonly start: 'earliest' | 'latest';
  /**
   * Shared memory of the process's threads by seat, and how many outputs there are: those behind `sinks` read no lanes.
   * Default: made here for the keeper and the sinks.
   */
  readonly threads?: { readonly board: SharedArrayBuffer; readonly wake: SharedArrayBuffer; readonly outputs: number };
}

/** What every thread gets. */
export interface EngineShared {
  /** 32 hex digits. Without a journal they are random and of this life only. */
  readonly log: string;
  readonly logId: Uint8Array;
  /** The life of this process: who claims cursors. */
  readonly life: Omit<LaneId, 'lane'>;
  /** Lives of the log that are known, this one included: which branch of the log it is. */
  readonly lives: Lives;
  readonly journal: string | undefined;
  readonly lanes: readonly LaneShared[];
  readonly finished: readonly FinishedLane[];
  readonly sinks: readonly string[];
  readonly board: SinkBoardShared;
  readonly wake: SharedArrayBuffer;
  readonly keeper: KeeperShared | undefined;
}

export interface Engine {
  readonly shared: EngineShared;
  /** Sinks that have a checkpoint but do not run now, and the bytes that each has not delivered. */
  readonly absent: readonly { name: string; kept: boolean; owedBytes: number }[];
  /** Sinks whose checkpoints come from another branch of this log (a copy): they go on from `life`. */
  readonly branched: readonly { name: string; life: number }[];
  release(): void;
}

export function openEngine(options: EngineOptions, disk: Disk = realDisk): Engine {
  const { config, sinks } = options;
  const wake = options.threads?.wake ?? createWakeWords(FIRST_OUTPUT_SEAT + sinks.length);
  const threads = options.threads?.board ?? ThreadBoard.create(FIRST_OUTPUT_SEAT + sinks.length);
  const board = SinkBoard.create(options.threads?.outputs ?? sinks.length, threads, FIRST_OUTPUT_SEAT);
  if (config.journalDir === 'off') {
    const logId = randomBytes(16);
    const life = { life: 1, lifeId: newLifeId() };
    const lanes = makeLanes(options, life, logId, undefined, wake);
    const shared: EngineShared = {
      log: logId.toString('hex'),
      logId,
      life,
      lives: livesOf([], [{ ...life, lane: 0 }]),
      journal: undefined,
      lanes,
      finished: [],
      sinks: sinks.map((sink) => sink.name),
      board,
      wake,
      keeper: undefined,
    };
    return { shared, absent: [], branched: [], release: () => undefined };
  }
  const { dir, identity, logId, lifeId, lock } = openJournal(config.journalDir, disk);
  try {
    const finished = recoverLanes(dir, logId, disk, identity.lives);
    const life = { life: identity.life, lifeId };
    const lives = livesOf(
      identity.lives ?? [],
      finished.map(({ id }) => id),
    );
    const lanes = makeLanes(options, life, logId, dir, wake);
    const branched = joinBranch(dir, identity.log, lives, disk);
    registerSinks(dir, identity.log, lives, finished, options, new SinkBoard(board), disk);
    const absent = absentSinks(dir, options, finished, disk);
    const running: KeeperSink[] = sinks.map((sink, index) => ({ ...sink, index }));
    const kept: KeeperSink[] = absent
      .filter((sink) => sink.kept)
      .map(({ name }) => ({ name, index: undefined, drops: false, lagBytesMax: 0 }));
    const used = journalBytes(dir, disk);
    // On a disk that is nearly full the default would be too small to run at all. What is there can be delivered, and
    // the disk itself says when there is room.
    const least = 4 * options.lanes * segmentBytesMin(config.ringBytes);
    const quotaBytes = config.journalMaxBytes ?? Math.max(defaultQuota(dir, used), least);
    const keeper: KeeperShared = {
      dir,
      lanes: lanes.map(({ id, ring, control }) => ({ id, ring, control })),
      finished,
      sinks: [...running, ...kept],
      board,
      wake,
      figures: JournalFigures.create(),
      segmentBytes: segmentSize(config, options.lanes, quotaBytes),
      quotaBytes,
      quotaGrows: config.journalMaxBytes === undefined,
      retainMs: config.journalRetainMs,
      syncIntervalMs: config.syncIntervalMs,
      syncGroupMs: config.syncGroupMs,
    };
    const shared: EngineShared = {
      log: identity.log,
      logId,
      life,
      lives,
      journal: dir,
      lanes,
      finished,
      sinks: sinks.map((sink) => sink.name),
      board,
      wake,
      keeper,
    };
    return { shared, absent, branched, release: () => lock.release() };
  } catch (error) {
    lock.release();
    throw error;
  }
}

function makeLanes(
  options: EngineOptions,
  life: Omit<LaneId, 'lane'>,
  logId: Buffer,
  journal: string | undefined,
  wake: SharedArrayBuffer,
): LaneShared[] {
  return Array.from({ length: options.lanes }, (_, lane) => ({
    id: { ...life, lane },
    ring: createRing(options.config.ringBytes, options.sinks.length),
    control: createLaneControl(),
    wake,
    followers: FIRST_OUTPUT_SEAT + options.sinks.length,
    journal,
    logId,
  }));
}

export const liveLanes = (shared: EngineShared): LiveLane[] => shared.lanes.map(({ id, ring }) => ({ id, ring }));

export const watchedLanes = (shared: EngineShared): WatchedLanes => ({
  live: liveLanes(shared),
  finished: shared.finished,
  logId: shared.logId,
  journal: shared.journal === undefined ? undefined : { lanes: lanesFolder(shared.journal), logId: shared.logId },
});

/**
 * A segment holds a whole draft, which is a quarter of the ring. Four segments per lane fit the quota: one is being
 * written, one is the spare, two are for sinks that lag.
 */
function segmentSize(config: EngineConfig, lanes: number, quotaBytes: number): number {
  const size = Math.min(config.segmentBytes, Math.floor(quotaBytes / (4 * lanes) / PAGE) * PAGE);
  const least = segmentBytesMin(config.ringBytes);
  if (size < least)
    throw errors.CONFIG({
      problems: [
        `JOURNAL_MAX_BYTES must hold four segments of ${least} bytes per acceptor, or RING_BYTES be smaller: ` +
          `JOURNAL_MAX_BYTES=${quotaBytes}, ACCEPTORS=${lanes}, RING_BYTES=${config.ringBytes}`,
      ],
    });
  return size;
}

function journalBytes(dir: string, disk: Disk): number {
  return new SegmentStore(lanesFolder(dir), disk).files().reduce((sum, file) => sum + file.bytes, 0);
}

/**
 * Moves checkpoints that were made on another branch of the log to where this one left it, those of absent sinks too:
 * the keeper goes by their lives.
 */
function joinBranch(dir: string, log: string, lives: Lives, disk: Disk): Engine['branched'] {
  const moved: { name: string; life: number }[] = [];
  for (const name of listSinks(dir, disk)) {
    const file = new CheckpointFile(checkpointPath(dir, name), disk);
    const state = file.read()?.state;
    if (state?.log === log && state.life !== NO_LANES && !isOfBranch(state, lives)) {
      const here = movedToBranch(state, lives);
      file.write(here);
      moved.push({ name, life: here.life });
    }
    file.close();
  }
  return moved;
}

/**
 * Gives every sink a checkpoint before the first event is taken. A sink that died before writing one would look new,
 * and SINK_START=latest would skip what it owes. A checkpoint that is here already is synced, because the keeper trusts
 * it from now on.
 */
function registerSinks(
  dir: string,
  log: string,
  lives: Lives,
  finished: readonly FinishedLane[],
  options: EngineOptions,
  board: SinkBoard,
  disk: Disk,
): void {
  const life = Math.max(...lives.keys());
  // A log with lanes and without any checkpoint has lost them: its sinks are not new.
  const isNew = finished.length === 0 || listSinks(dir, disk).length > 0;
  for (const [index, { name }] of options.sinks.entries()) {
    const path = checkpointPath(dir, name);
    if (disk.exists(path)) {
      const fd = disk.open(path, 'r+');
      disk.fdatasync(fd);
      disk.close(fd);
    }
    const file = new CheckpointFile(path, disk);
    const stored = file.read();
    let state = stored?.state;
    if (state === undefined || state.log !== log) {
      // `earliest` means the oldest event still there. What was deleted before this sink came is not its loss.
      const first = options.start === 'latest' && isNew ? life : (finished[0]?.id.life ?? life);
      const lanes = finished
        .filter(({ id }) => id.life === first)
        .map(({ id, begin }) => [id.lane, begin.position, begin.record] as const);
      const ledger = { passed: 0, delivered: 0, dead: 0, givenUp: 0 };
      state = { log, life: first, ...branchOf(lives, first), lanes, ledger };
      file.write(state);
    }
    board.setCheckpoint(index, file.sequence);
    board.set(index, 'owed', owedRecords(state, finished));
    file.close();
  }
  disk.syncFolder(sinksFolder(dir));
}

function absentSinks(
  dir: string,
  options: EngineOptions,
  finished: readonly FinishedLane[],
  disk: Disk,
): Engine['absent'] {
  const running = new Set(options.sinks.map((sink) => sink.name));
  return listSinks(dir, disk)
    .filter((name) => !running.has(name))
    .map((name) => ({ name, state: readCheckpoint(dir, name, disk) }))
    .filter(({ state }) => state?.life !== NO_LANES)
    .map(({ name, state }) => ({
      name,
      kept: options.keep.includes(name),
      owedBytes: owedBytes(state, finished),
    }));
}

/** Bytes of these lanes that a sink with this checkpoint has not delivered. */
export function owedBytes(state: CheckpointState | undefined, lanes: readonly FinishedLane[]): number {
  return lanes.reduce(
    (sum, lane) => sum + Math.max(0, lane.end.position - Math.max(lane.begin.position, markOf(state, lane).position)),
    0,
  );
}

/** The same in records. */
function owedRecords(state: CheckpointState, lanes: readonly FinishedLane[]): number {
  return lanes.reduce(
    (sum, lane) => sum + Math.max(0, lane.end.record - Math.max(lane.begin.record, markOf(state, lane).record)),
    0,
  );
}

export function markOf(
  state: CheckpointState | undefined,
  lane: Pick<FinishedLane, 'id' | 'end'>,
): { position: number; record: number } {
  if (state === undefined || state.life < lane.id.life) return { position: 0, record: 0 };
  if (state.life > lane.id.life) return lane.end;
  if (state.lifeId !== lane.id.lifeId) return { position: 0, record: 0 };
  const found = state.lanes.find(([k]) => k === lane.id.lane);
  return found === undefined ? { position: 0, record: 0 } : { position: found[1], record: found[2] };
}
