/**
 * Signals: holds what comes before a service can act on it. Node ends a process for SIGHUP, SIGINT and SIGTERM until
 * somebody listens, and loading the code of a service takes some hundred ms: logrotate must not kill a collector that
 * starts. So main.ts holds signals first of all.
 */
const names = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const satisfies readonly NodeJS.Signals[];
export type HeldSignal = (typeof names)[number];

export class HeldSignals {
  #take: ((signal: HeldSignal) => void) | undefined;
  readonly #held: HeldSignal[] = [];
  readonly #listener = (signal: NodeJS.Signals): void => {
    const name = signal as HeldSignal;
    if (this.#take !== undefined) this.#take(name);
    else if (!this.#held.includes(name)) this.#held.push(name);
  };

  constructor() {
    for (const name of names) process.on(name, this.#listener);
  }

  /** Hands on what was held, and all that comes from now on. */
  passTo(take: (signal: HeldSignal) => void): void {
    this.#take = take;
    for (const name of this.#held.splice(0)) take(name);
  }

  /** Nobody will act on signals: they end the process again, those too that were held. */
  release(): void {
    for (const name of names) process.off(name, this.#listener);
    for (const name of this.#held.splice(0)) if (name !== 'SIGHUP') process.kill(process.pid, name);
  }
}
