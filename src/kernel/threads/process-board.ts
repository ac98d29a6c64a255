/**
 * Process board: what main tells the acceptors, in shared memory, so that any of them answers /readyz without asking a thread.
 *   i32 0  stage: see stages
 *   i32 1  the keeper runs
 *   i32 2  sinks whose thread runs, one bit each
 *   i32 3+ acceptor k listens
 */
export const stages = ['starting', 'serving', 'draining'] as const;
export type Stage = (typeof stages)[number];

const ACCEPTORS = 3;

export class ProcessBoard {
  readonly #words: Int32Array;
  readonly acceptors: number;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.acceptors = this.#words.length - ACCEPTORS;
  }
  static create(acceptors: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * (ACCEPTORS + acceptors));
  }

  stage(): Stage {
    return stages[Atomics.load(this.#words, 0)];
  }
  setStage(stage: Stage): void {
    Atomics.store(this.#words, 0, stages.indexOf(stage));
  }
  keeperUp(): boolean {
    return Atomics.load(this.#words, 1) === 1;
  }
  setKeeper(up: boolean): void {
    Atomics.store(this.#words, 1, up ? 1 : 0);
  }
  sinkUp(sink: number): boolean {
    return (Atomics.load(this.#words, 2) & (1 << sink)) !== 0;
  }
  setSink(sink: number, up: boolean): void {
    if (up) Atomics.or(this.#words, 2, 1 << sink);
    else Atomics.and(this.#words, 2, ~(1 << sink));
  }
  acceptorUp(acceptor: number): boolean {
    return Atomics.load(this.#words, ACCEPTORS + acceptor) === 1;
  }
  setAcceptor(acceptor: number, up: boolean): void {
    Atomics.store(this.#words, ACCEPTORS + acceptor, up ? 1 : 0);
  }
}
