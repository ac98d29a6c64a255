/**
 * Carried: whether an operator has a prefix that a number begins with, as far as this process knows: OPERATORS of its
 * own, and what workers tell of theirs (states.ts), so that neither an api without OPERATORS nor one that is restarted
 * after the workers refuses what they carry. Where it knows of no operator at all, every number may be carried.
 */
import type { GivenOperator } from './operator-option.ts';

export class Carried {
  readonly #own: ReadonlySet<string>;
  #known: ReadonlySet<string>;

  constructor(own: readonly Pick<GivenOperator, 'prefixes'>[]) {
    this.#own = new Set(own.flatMap(({ prefixes }) => prefixes));
    this.#known = this.#own;
  }

  /** Prefixes of all workers, as they tell them now. */
  told(prefixes: readonly string[]): void {
    this.#known = new Set([...this.#own, ...prefixes]);
  }

  has(to: string): boolean {
    if (this.#known.size === 0) return true;
    for (let length = 1; length <= to.length; length += 1) if (this.#known.has(to.slice(0, length))) return true;
    return false;
  }
}
