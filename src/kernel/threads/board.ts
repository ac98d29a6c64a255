/**
 * Thread board: what main and the threads tell each other, in shared memory, so that any thread answers /readyz without
 * asking another.
 *
 *   i32 0                 stage of the process, see stages (main writes)
 *   per seat, 512 bytes, from byte 128 on
 *      0  state      i32  see seatStates; the seat writes it, and main when the seat's thread starts
 *      4  phase      i32  see phases; main writes it
 *      8  reloads    i32  how often main has asked to open files anew
 *     12  running    i32  1: a thread sits here; main writes it
 *     16  reason     i32  bytes of the reason
 *     24  told       f64  when the seat gave its last sign of life, steadyMs
 *    128  reason          UTF-8, why the seat is not up
 *
 * One protocol for all seats: main sets the phase and wakes the seat (wake.ts); the seat tells its state, and its
 * thread ends.
 */
import type { WakeWords } from './wake.ts';

const HEAD = 128;
const ENTRY = 512;
const REASON = 128;
const REASON_BYTES_MAX = ENTRY - REASON;

const stages = ['starting', 'serving', 'draining'] as const;
export type Stage = (typeof stages)[number];

export const seatStates = ['starting', 'up', 'down', 'stopped', 'ended'] as const;
/**
 * starting: not ready yet; down: retrying; stopped: retrying slowly, an operator is needed; ended: its thread is over.
 */
export type SeatState = (typeof seatStates)[number];

/**
 * run; drain: finish what is there (an acceptor goes on answering, and closes connections; the others end); stop: end
 * now and in order, the journal keeps the rest; abort: end at once.
 */
const phases = ['run', 'drain', 'stop', 'abort'] as const;
export type Phase = (typeof phases)[number];

/** Ms of a clock that never goes back and is the same in all threads; performance.now() begins anew in each. */
const steadyMs = (): number => Number(process.hrtime.bigint() / 1_000_000n);

/** A seat that has told nothing for this long is held up: by a call that blocks, or by a target that never answers. */
const SILENT_MS = 10_000;

export class ThreadBoard {
  readonly #words: Int32Array;
  readonly #floats: Float64Array;
  readonly #bytes: Uint8Array;
  readonly seats: number;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#floats = new Float64Array(memory);
    this.#bytes = new Uint8Array(memory);
    this.seats = (memory.byteLength - HEAD) / ENTRY;
  }

  static create(seats: number): SharedArrayBuffer {
    return new SharedArrayBuffer(HEAD + Math.max(1, seats) * ENTRY);
  }

  stage(): Stage {
    return stages[Atomics.load(this.#words, 0)];
  }
  setStage(stage: Stage): void {
    Atomics.store(this.#words, 0, stages.indexOf(stage));
  }

  state(seat: number): SeatState {
    return seatStates[Atomics.load(this.#words, word(seat))];
  }
  reason(seat: number): string {
    const at = HEAD + seat * ENTRY + REASON;
    const length = Math.min(this.#words[word(seat) + 4], REASON_BYTES_MAX);
    return Buffer.from(this.#bytes.slice(at, at + length)).toString('utf8');
  }
  setState(seat: number, state: SeatState, reason = ''): void {
    const text = new Uint8Array(REASON_BYTES_MAX);
    const { written } = new TextEncoder().encodeInto(reason, text);
    this.#bytes.set(text.subarray(0, written), HEAD + seat * ENTRY + REASON);
    this.#words[word(seat) + 4] = written;
    Atomics.store(this.#words, word(seat), seatStates.indexOf(state));
  }

  phase(seat: number): Phase {
    return phases[Atomics.load(this.#words, word(seat) + 1)];
  }
  setPhase(seat: number, phase: Phase): void {
    Atomics.store(this.#words, word(seat) + 1, phases.indexOf(phase));
  }

  askReload(seat: number): void {
    Atomics.add(this.#words, word(seat) + 2, 1);
  }
  reloads(seat: number): number {
    return Atomics.load(this.#words, word(seat) + 2);
  }

  running(seat: number): boolean {
    return Atomics.load(this.#words, word(seat) + 3) === 1;
  }
  setRunning(seat: number, running: boolean): void {
    Atomics.store(this.#words, word(seat) + 3, running ? 1 : 0);
  }

  /** A sign of life: what the seat tells now is true now. */
  tell(seat: number): void {
    this.#floats[told(seat)] = steadyMs();
  }
  /** Ms since the last sign of life; 0 before the first one. */
  quietMs(seat: number): number {
    const ms = this.#floats[told(seat)];
    return ms === 0 ? 0 : Math.max(0, steadyMs() - ms);
  }
  /** The seat is called up and gives no sign of life: nobody may take its figures for the truth. */
  silent(seat: number): boolean {
    return this.state(seat) === 'up' && this.quietMs(seat) > SILENT_MS;
  }
}

const word = (seat: number): number => (HEAD + seat * ENTRY) / 4;
const told = (seat: number): number => (HEAD + seat * ENTRY + 24) / 8;

/** A seat that only hears of main's wishes is woken for them; this is how long it sleeps when nobody does. */
const LOOK_MS = 1000;

/**
 * For event-loop threads: calls `changed` when main has set another phase or asked for a reload. Ends with the phases
 * stop and abort.
 */
export async function watchSeat(
  board: ThreadBoard,
  wake: WakeWords,
  seat: number,
  changed: { phase(phase: Phase): void; reload?(): void },
): Promise<void> {
  let phase: Phase = 'run';
  let reloads = board.reloads(seat);
  for (;;) {
    const count = wake.count(seat);
    if (board.reloads(seat) !== reloads) {
      reloads = board.reloads(seat);
      changed.reload?.();
    }
    const now = board.phase(seat);
    if (now !== phase) {
      phase = now;
      changed.phase(phase);
    }
    if (phase === 'abort') return;
    await wake.napAsync(seat, count, LOOK_MS);
  }
}
