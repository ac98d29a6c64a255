/** Random numbers from a seed, so that a failing run can be played again (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number in [0, limit). */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.below(256)));
  }

  /** Characters of all sorts, most of them printable ASCII. */
  text(length: number): string {
    const one = () => {
      const kind = this.below(20);
      if (kind === 0) return String.fromCodePoint(this.below(0xd800));
      return kind === 1 ? String.fromCharCode(this.below(32)) : String.fromCharCode(32 + this.below(95));
    };
    return Array.from({ length }, one).join('');
  }
}
