/**
 * Sink board: what each sink's thread tells the others, in shared memory: its ledger for /metrics and the sequence of
 * its last synced checkpoint for the keeper. How the thread is (state, phase, signs of life) stands on the thread
 * board, at the sink's seat. One writer per sink.
 *
 *   per sink, 256 bytes
 *      0  checkpoint  i32   sequence of the last synced checkpoint
 *      4  told        i32   1: the figures have been told at least once
 *      8  figures     f64 each, see sinkFigures
 */
import { type Phase, type SeatState, ThreadBoard } from '../kernel/threads/board.ts';

const ENTRY = 256;
const FIGURES = 8;

/**
 * passed: records between the sink's first mark and the present one, by record numbers; delivered, dead, givenUp,
 * skipped: the same, counted one by one. passed = delivered + dead + givenUp + skipped, always (L5). All are cumulative
 * across restarts: they live in the checkpoint. owed: records of earlier lives not passed when this process began;
 * lagBytes, lagRecords, oldestMs (0: none): what is not delivered. seenBytes, seenRecords: what the live lanes held
 * when the sink's thread last told its figures. deadBefore, givenUpBefore: those two when this process began.
 */
const sinkFigures = [
  'passed',
  'delivered',
  'dead',
  'givenUp',
  'skipped',
  'owed',
  'lagBytes',
  'lagRecords',
  'oldestMs',
  'retries',
  'seenBytes',
  'seenRecords',
  'deadBefore',
  'givenUpBefore',
] as const;
export type SinkFigure = (typeof sinkFigures)[number];

/** Plain data: it goes to every thread. */
export interface SinkBoardShared {
  readonly figures: SharedArrayBuffer;
  /** The thread board. */
  readonly threads: SharedArrayBuffer;
  /** Seat of sink 0; the others sit behind it. */
  readonly firstSeat: number;
}

export class SinkBoard {
  readonly #words: Int32Array;
  readonly #floats: Float64Array;
  readonly #threads: ThreadBoard;
  readonly #firstSeat: number;
  readonly sinks: number;

  constructor({ figures, threads, firstSeat }: SinkBoardShared) {
    this.#words = new Int32Array(figures);
    this.#floats = new Float64Array(figures);
    this.#threads = new ThreadBoard(threads);
    this.#firstSeat = firstSeat;
    this.sinks = figures.byteLength / ENTRY;
  }

  static create(sinks: number, threads = ThreadBoard.create(sinks), firstSeat = 0): SinkBoardShared {
    return { figures: new SharedArrayBuffer(Math.max(1, sinks) * ENTRY), threads, firstSeat };
  }

  state(sink: number): SeatState {
    return this.#threads.state(this.#firstSeat + sink);
  }
  reason(sink: number): string {
    return this.#threads.reason(this.#firstSeat + sink);
  }
  setState(sink: number, state: SeatState, reason = ''): void {
    this.#threads.setState(this.#firstSeat + sink, state, reason);
  }
  phase(sink: number): Phase {
    return this.#threads.phase(this.#firstSeat + sink);
  }
  setPhase(sink: number, phase: Phase): void {
    this.#threads.setPhase(this.#firstSeat + sink, phase);
  }
  /** How often main has asked to open files anew (SIGHUP). */
  reloads(sink: number): number {
    return this.#threads.reloads(this.#firstSeat + sink);
  }
  /** The figures on this board are true now. */
  tell(sink: number): void {
    Atomics.store(this.#words, (sink * ENTRY) / 4 + 1, 1);
    this.#threads.tell(this.#firstSeat + sink);
  }
  /** False: the sink's thread has not measured anything yet; a figure of 0 means nothing. */
  told(sink: number): boolean {
    return Atomics.load(this.#words, (sink * ENTRY) / 4 + 1) === 1;
  }
  quietMs(sink: number): number {
    return this.#threads.quietMs(this.#firstSeat + sink);
  }
  silent(sink: number): boolean {
    return this.#threads.silent(this.#firstSeat + sink);
  }

  checkpoint(sink: number): number {
    return Atomics.load(this.#words, (sink * ENTRY) / 4);
  }
  setCheckpoint(sink: number, sequence: number): void {
    Atomics.store(this.#words, (sink * ENTRY) / 4, sequence);
  }

  get(sink: number, figure: SinkFigure): number {
    return this.#floats[(sink * ENTRY + FIGURES) / 8 + sinkFigures.indexOf(figure)];
  }
  set(sink: number, figure: SinkFigure, value: number): void {
    this.#floats[(sink * ENTRY + FIGURES) / 8 + sinkFigures.indexOf(figure)] = value;
  }
}
