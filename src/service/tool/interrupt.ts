/**
 * Interrupt: Ctrl-C and TERM while a tool works. The first one asks for an end in order; the tool says how far it has
 * come and ends with 130 or 143. The second one ends it at once.
 */
import { constants } from 'node:os';

/** One Ctrl-C under npm, or the TERM of `timeout`, arrives twice: from the sender and from whoever passes it on. */
const ECHO_MS = 100;

const signals = ['SIGINT', 'SIGTERM'] as const;

export class Interrupt {
  readonly #abort = new AbortController();
  #name: (typeof signals)[number] | undefined;
  #told = Number.NEGATIVE_INFINITY;

  constructor() {
    for (const name of signals) process.on(name, this.#hear);
  }

  readonly #hear = (name: NodeJS.Signals): void => {
    if (performance.now() - this.#told < ECHO_MS) return;
    this.#told = performance.now();
    if (this.#name !== undefined) process.exit(128 + constants.signals[name]);
    this.#name = name as (typeof signals)[number];
    this.#abort.abort();
  };

  /** Fires with the first signal. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Whether the end was asked for. */
  get wanted(): boolean {
    return this.#name !== undefined;
  }

  /** The exit code of the signal. */
  get exit(): number {
    return 128 + constants.signals[this.#name ?? 'SIGINT'];
  }

  /** From now on a signal does what it does without this. */
  close(): void {
    for (const name of signals) process.off(name, this.#hear);
  }
}
