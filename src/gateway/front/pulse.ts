/**
 * Pulse: keeps slow requests alive, and ends those that are too slow. The addon closes a connection that stands still
 * for some 10 s, also when its client reads or sends slowly and steadily: pause() with resume() starts that time anew
 * (tried on 20.51.4 with uploads of 8 KB/s and downloads of 20 KB/s).
 */
export interface Slow {
  /** Called every EVERY_MS; `now` by performance.now(). */
  beat(now: number): void;
}

const EVERY_MS = 4000;

export class Pulse {
  readonly #slow = new Set<Slow>();
  #timer: NodeJS.Timeout | undefined;

  add(one: Slow): void {
    this.#slow.add(one);
    this.#timer ??= setInterval(() => this.#beat(), EVERY_MS).unref();
  }

  remove(one: Slow): void {
    this.#slow.delete(one);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    const now = performance.now();
    for (const one of [...this.#slow]) one.beat(now);
    if (this.#slow.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
