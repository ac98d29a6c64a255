/**
 * Wake words: how a thread sleeps until there is something to do, and how others wake it. One line of 128 bytes per
 * sleeper:
 *   i32 count     bumped by everyone who wakes it; the sleeper waits on it
 *   i32 sleeping  1 while the sleeper sleeps deeply; wakers look at it first, for a notify costs a system call
 *
 * The order that makes a lost wake-up impossible: the sleeper stores sleeping = 1, then looks for work once more, then
 * waits; a waker publishes its work, then looks at `sleeping`. One of them sees the other.
 */
const LINE_WORDS = 32;

export function createWakeWords(sleepers: number): SharedArrayBuffer {
  return new SharedArrayBuffer(sleepers * LINE_WORDS * 4);
}

export class WakeWords {
  readonly #words: Int32Array;
  readonly sleepers: number;
  /** `sleepers`: only the first so many. */
  constructor(memory: SharedArrayBuffer, sleepers = memory.byteLength / 4 / LINE_WORDS) {
    this.#words = new Int32Array(memory);
    this.sleepers = sleepers;
  }

  /** Wakes the sleeper when it sleeps deeply; one atomic load otherwise. */
  nudge(sleeper: number): void {
    const at = sleeper * LINE_WORDS;
    if (Atomics.load(this.#words, at + 1) === 1) this.wake(sleeper);
  }

  /** Wakes the sleeper also from a nap. */
  wake(sleeper: number): void {
    const at = sleeper * LINE_WORDS;
    Atomics.store(this.#words, at + 1, 0);
    Atomics.add(this.#words, at, 1);
    Atomics.notify(this.#words, at);
  }

  count(sleeper: number): number {
    return Atomics.load(this.#words, sleeper * LINE_WORDS);
  }

  /** For threads that may block: sleeps up to `ms` unless `wake` was called since `count`. */
  nap(sleeper: number, count: number, ms: number): void {
    Atomics.wait(this.#words, sleeper * LINE_WORDS, count, ms);
  }

  /** As nap, for event-loop threads. */
  async napAsync(sleeper: number, count: number, ms: number): Promise<void> {
    const wait = Atomics.waitAsync(this.#words, sleeper * LINE_WORDS, count, ms);
    if (wait.async) await wait.value;
  }

  /** Announces deep sleep. The caller must look for work again afterwards and only then nap. */
  lieDown(sleeper: number): void {
    Atomics.store(this.#words, sleeper * LINE_WORDS + 1, 1);
  }
  getUp(sleeper: number): void {
    Atomics.store(this.#words, sleeper * LINE_WORDS + 1, 0);
  }
}

const nobody = new Int32Array(new SharedArrayBuffer(4));
/** Blocks the thread for `ms`; only for threads that may block. */
export function block(ms: number): void {
  Atomics.wait(nobody, 0, 0, ms);
}
