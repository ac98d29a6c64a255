/** Resting: items by the time at which each may go on; the earliest is known at once (a binary heap). */
interface Rest<T> {
  readonly item: T;
  readonly untilMs: number;
}

export class Resting<T> {
  readonly #heap: Rest<T>[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** When the earliest may go on; undefined: nothing rests. */
  get nextMs(): number | undefined {
    return this.#heap[0]?.untilMs;
  }

  add(item: T, untilMs: number): void {
    const heap = this.#heap;
    const rest = { item, untilMs };
    let at = heap.push(rest) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.untilMs <= untilMs) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = rest;
  }

  /** Takes out the earliest one whose time has come. */
  take(nowMs: number): T | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.untilMs > nowMs) return undefined;
    const last = heap.pop()!;
    if (heap.length > 0) this.#sink(last);
    return first.item;
  }

  #sink(rest: Rest<T>): void {
    const heap = this.#heap;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && heap[child + 1]!.untilMs < heap[child]!.untilMs) child += 1;
      if (heap[child]!.untilMs >= rest.untilMs) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = rest;
  }
}
