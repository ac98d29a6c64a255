/**
 * Sink board: what each sink's thread tells the others, in shared memory: its state for /readyz, its ledger for /metrics, the
 * sequence of its last synced checkpoint for the keeper. One writer per sink.
 *
 *   per sink, 1024 bytes
 *      0  state       i32   see sinkStates
 *      4  checkpoint  i32   sequence of the last synced checkpoint
 *      8  phase       i32   main -> sink: see Phase
 *     12  reason bytes i32
 *     16  figures     f64 each, see sinkFigures
 *    256  reopen      i32   main -> sink: count of requests to open files anew (SIGHUP)
 *    512  reason      UTF-8, why it is not up
 */
const ENTRY = 1024;
const FIGURES = 16;
const REASON = 512;
const REOPEN = 256;

export const sinkStates = ['starting', 'up', 'down', 'stopped', 'ended'] as const;
/** starting: not connected yet; down: retrying; stopped: retrying slowly, an operator is needed; ended: its thread is over. */
export type SinkState = (typeof sinkStates)[number];

/** run; drain: deliver what is there, then end; stop: end now, the journal keeps the rest. */
export const phases = ['run', 'drain', 'stop'] as const;
export type Phase = (typeof phases)[number];

/**
 * passed: records between the sink's first mark and the present one, by record numbers; delivered, dead, givenUp: the same, counted
 * one by one; skipped: those of a kind that the output does not take. passed = delivered + dead + givenUp + skipped, always (L5). All are
 * cumulative across restarts: they live in the checkpoint.
 * owed: records of earlier lives not passed yet; lagBytes, lagRecords, oldestMs (0: none): what is not delivered.
 * toldMs: when the sink's thread has told all this, by steadyMs(); seenBytes, seenRecords: what the live lanes held then.
 */
export const sinkFigures = [
  'passed',
  'delivered',
  'dead',
  'givenUp',
  'owed',
  'lagBytes',
  'lagRecords',
  'oldestMs',
  'retries',
  'toldMs',
  'seenBytes',
  'seenRecords',
  'skipped',
] as const;
export type SinkFigure = (typeof sinkFigures)[number];

/** Ms of a clock that never goes back and is the same in all threads; performance.now() begins anew in each. */
export const steadyMs = (): number => Number(process.hrtime.bigint() / 1_000_000n);

/** A thread that has told nothing for this long is held up: by a call that blocks, or by a target that never answers. */
const SILENT_MS = 10_000;

export class SinkBoard {
  readonly #words: Int32Array;
  readonly #floats: Float64Array;
  readonly #bytes: Uint8Array;
  readonly sinks: number;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#floats = new Float64Array(memory);
    this.#bytes = new Uint8Array(memory);
    this.sinks = memory.byteLength / ENTRY;
  }

  static create(sinks: number): SharedArrayBuffer {
    return new SharedArrayBuffer(Math.max(1, sinks) * ENTRY);
  }

  state(sink: number): SinkState {
    return sinkStates[Atomics.load(this.#words, (sink * ENTRY) / 4)];
  }
  reason(sink: number): string {
    const at = sink * ENTRY;
    const length = Math.min(this.#words[at / 4 + 3], ENTRY - REASON);
    return Buffer.from(this.#bytes.slice(at + REASON, at + REASON + length)).toString('utf8');
  }
  setState(sink: number, state: SinkState, reason = ''): void {
    const at = sink * ENTRY;
    const { written } = new TextEncoder().encodeInto(reason, new Uint8Array(ENTRY - REASON));
    this.#bytes.set(new TextEncoder().encode(reason).subarray(0, written), at + REASON);
    this.#words[at / 4 + 3] = written;
    Atomics.store(this.#words, at / 4, sinkStates.indexOf(state));
  }

  /** Ms since the sink's thread has told how it stands; 0 before it has for the first time. */
  quietMs(sink: number): number {
    const told = this.get(sink, 'toldMs');
    return told === 0 ? 0 : Math.max(0, steadyMs() - told);
  }
  /** It is called up but gives no sign of life: nobody may take its figures for the truth. */
  silent(sink: number): boolean {
    return this.state(sink) === 'up' && this.quietMs(sink) > SILENT_MS;
  }

  checkpoint(sink: number): number {
    return Atomics.load(this.#words, (sink * ENTRY) / 4 + 1);
  }
  setCheckpoint(sink: number, sequence: number): void {
    Atomics.store(this.#words, (sink * ENTRY) / 4 + 1, sequence);
  }

  phase(sink: number): Phase {
    return phases[Atomics.load(this.#words, (sink * ENTRY) / 4 + 2)];
  }
  setPhase(sink: number, phase: Phase): void {
    Atomics.store(this.#words, (sink * ENTRY) / 4 + 2, phases.indexOf(phase));
  }

  askReopen(sink: number): void {
    Atomics.add(this.#words, (sink * ENTRY + REOPEN) / 4, 1);
  }
  reopens(sink: number): number {
    return Atomics.load(this.#words, (sink * ENTRY + REOPEN) / 4);
  }

  get(sink: number, figure: SinkFigure): number {
    return this.#floats[(sink * ENTRY + FIGURES) / 8 + sinkFigures.indexOf(figure)];
  }
  set(sink: number, figure: SinkFigure, value: number): void {
    this.#floats[(sink * ENTRY + FIGURES) / 8 + sinkFigures.indexOf(figure)] = value;
  }
}
