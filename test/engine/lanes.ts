/**
 * A log on a disk of the test's choice, its keeper stepped by hand: what the engine's tests build on. Records carry a
 * number and bytes that follow from it, so that one that was invented, torn or mixed up shows.
 */
import { Batch } from '../../src/engine/batch.ts';
import { CheckpointFile, type CheckpointState, type Mark } from '../../src/engine/checkpoint.ts';
import type { Disk } from '../../src/engine/disk.ts';
import { checkpointPath, lanesFolder, sinksFolder } from '../../src/engine/journal.ts';
import { Keeper, type KeeperEvents, type KeeperShared } from '../../src/engine/keeper.ts';
import { type LaneShared, LaneWriter } from '../../src/engine/lane.ts';
import { createLaneControl } from '../../src/engine/lane-control.ts';
import { type FinishedLane, LaneReader, type LiveLane } from '../../src/engine/lane-reader.ts';
import { JournalFigures } from '../../src/engine/metrics.ts';
import { recoverLanes } from '../../src/engine/recovery.ts';
import { createRing } from '../../src/engine/ring.ts';
import { SinkBoard } from '../../src/engine/sink-board.ts';
import { align8, RECORD_HEADER } from '../../src/kernel/record.ts';
import { createWakeWords } from '../../src/kernel/threads/wake.ts';

export const DIR = '/journal';
export const LOG_ID = Buffer.from('0123456789abcdef0123456789abcdef', 'hex');
export const LOG = LOG_ID.toString('hex');

const BODY = RECORD_HEADER + 8;

/** Byte `i` of the content of record `id`. */
const contentAt = (id: number, i: number): number => (id * 31 + i * 7) & 0xff;

/** Appends record `id` with `bytes` of content to the draft. */
export function appendRecord(writer: LaneWriter, id: number, bytes: number, kind = 1): void {
  const at = writer.begin(BODY + bytes);
  const { buffer } = writer;
  buffer.writeDoubleLE(id, at + RECORD_HEADER);
  for (let i = 0; i < bytes; i++) buffer[at + BODY + i] = contentAt(id, i);
  writer.commit(at + BODY + bytes, kind, 1);
}

/** Bytes that a record with `bytes` of content may need, for refusal(). */
export const recordBytes = (bytes: number): number => align8(BODY + bytes);

/** Reads a record back and throws when it is not whole. */
export function recordId(buffer: Buffer, offset: number): number {
  const length = buffer.readUInt32LE(offset);
  const id = buffer.readDoubleLE(offset + RECORD_HEADER);
  for (let i = BODY; i < length; i++)
    if (buffer[offset + i] !== contentAt(id, i - BODY)) throw new Error(`record ${id} is damaged at byte ${i}`);
  return id;
}

export interface LogOptions {
  readonly disk: Disk;
  readonly life?: number;
  readonly lanes?: number;
  readonly ringBytes?: number;
  readonly segmentBytes?: number;
  readonly quotaBytes?: number;
  readonly retainMs?: number;
  readonly sinks?: readonly string[];
  readonly drops?: boolean;
  readonly events?: KeeperEvents;
  readonly syncGroupMs?: number;
  readonly syncIntervalMs?: number;
}

export interface Log {
  readonly writers: LaneWriter[];
  readonly shared: LaneShared[];
  readonly keeperShared: KeeperShared;
  keeper: Keeper;
  readonly live: LiveLane[];
  readonly finished: FinishedLane[];
  readonly board: SinkBoard;
  readonly checkpoints: { file: CheckpointFile; state: CheckpointState }[];
  readonly figures: JournalFigures;
  now: number;
  /** Steps the keeper until every lane has a spare or `steps` are over. */
  settle(steps?: number): void;
  /** Time passes and the keeper steps. */
  step(ms?: number): void;
}

/** Opens the log on the disk as the engine does, in one life more than the last. */
export function openLog(options: LogOptions): Log {
  const { disk } = options;
  const life = options.life ?? 1;
  const names = options.sinks ?? ['log'];
  disk.mkdir(lanesFolder(DIR));
  disk.mkdir(sinksFolder(DIR));
  disk.syncFolder('/');
  disk.syncFolder(DIR);
  const finished = recoverLanes(DIR, LOG_ID, disk);
  const board = SinkBoard.create(names.length);
  const checkpoints = names.map((name, index) => {
    const file = new CheckpointFile(checkpointPath(DIR, name), disk);
    let state = file.read()?.state;
    if (state === undefined) {
      state = { log: LOG, life: 0, lanes: [], ledger: { passed: 0, delivered: 0, dead: 0, givenUp: 0 } };
      file.write(state);
    }
    new SinkBoard(board).setCheckpoint(index, file.sequence);
    return { file, state };
  });
  disk.syncFolder(sinksFolder(DIR));
  const wake = createWakeWords(1 + names.length);
  const shared: LaneShared[] = Array.from({ length: options.lanes ?? 1 }, (_, lane) => ({
    id: { life, lane },
    ring: createRing(options.ringBytes ?? 4096, names.length),
    control: createLaneControl(),
    wake,
    journal: DIR,
    logId: LOG_ID,
  }));
  const keeperShared: KeeperShared = {
    dir: DIR,
    lanes: shared.map(({ id, ring, control }) => ({ id, ring, control })),
    finished,
    sinks: names.map((name, index) => ({ name, index, drops: options.drops ?? false, lagBytesMax: 0 })),
    board,
    wake,
    figures: JournalFigures.create(),
    segmentBytes: options.segmentBytes ?? 16 * 1024,
    quotaBytes: options.quotaBytes ?? 2 ** 40,
    retainMs: options.retainMs ?? 0,
    syncIntervalMs: options.syncIntervalMs ?? 10,
    syncGroupMs: options.syncGroupMs ?? 1,
  };
  const log: Log = {
    shared,
    keeperShared,
    keeper: new Keeper(keeperShared, disk, options.events),
    writers: [],
    live: shared.map(({ id, ring }) => ({ id, ring })),
    finished,
    board: new SinkBoard(board),
    checkpoints,
    figures: new JournalFigures(keeperShared.figures),
    now: 1000 * life,
    step(ms = 10) {
      log.now += ms;
      log.keeper.step(log.now);
    },
    settle(steps = 50) {
      for (let i = 0; i < steps && !log.writers.every(({ control }) => control.spareReady()); i++) log.step(300);
    },
  };
  for (const part of shared) log.writers.push(new LaneWriter(part, disk, () => log.now));
  log.settle();
  return log;
}

/** Publishes records of `bytes` content each, ids from `first`; the keeper steps when there is no room. */
export function fill(log: Log, first: number, count: number, bytes = 40, lane = 0): void {
  const writer = log.writers[lane];
  for (let id = first; id < first + count; id++) {
    for (let i = 0; writer.refusal(recordBytes(bytes)) !== undefined; i++) {
      if (i > 200) throw new Error(`no room: ${writer.refusal(recordBytes(bytes))}`);
      log.step();
    }
    appendRecord(writer, id, bytes);
    if (!writer.publish()) throw writer.stuck;
  }
}

export const ZERO: Mark = { position: 0, record: 0 };

/** Everything a sink gets from a lane, from `mark` on: ids, and what was lost. */
export function readAll(
  lane: LiveLane | FinishedLane,
  disk: Disk,
  mark: Mark = ZERO,
  batchBytes = 64 * 1024,
): { ids: number[]; losses: { from: Mark; to: Mark; reason: string }[]; end: Mark } {
  const reader = new LaneReader(lane, 0, mark, { lanes: lanesFolder(DIR), logId: LOG_ID }, disk);
  const batch = new Batch(batchBytes);
  const ids: number[] = [];
  const losses = [];
  for (;;) {
    batch.begin(lane.id, reader.mark);
    if (!reader.fill(batch, 1000)) break;
    for (let i = 0; i < batch.count; i++) ids.push(recordId(batch.buffer, batch.offsets[i]));
    losses.push(...batch.losses);
  }
  reader.close();
  return { ids, losses, end: reader.mark };
}

export const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
