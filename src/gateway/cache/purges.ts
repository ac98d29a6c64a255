/**
 * Purges: which rule ends an entry. Rules have numbers in the order in which they were committed, and an entry
 * remembers the newest one that was known when its backend was asked; so no clock decides.
 */
import type { PurgeRule } from '../model.ts';

export class Purges {
  readonly #rules = new Map<number, PurgeRule>();
  /** The newest rule of a source. */
  readonly #exact = new Map<string, number>();
  readonly #prefixes = new Map<number, string>();
  #newest = 0;

  get newest(): number {
    return this.#newest;
  }

  /** All rules that are in force, in their order, in place of those before. */
  begin(rules: readonly PurgeRule[]): void {
    for (const map of [this.#rules, this.#exact, this.#prefixes]) map.clear();
    for (const rule of rules) this.put(rule);
  }

  /** A rule that is new, or another text of one. */
  put(rule: PurgeRule): void {
    const { id, source, prefix } = rule;
    this.drop(id);
    this.#rules.set(id, rule);
    if (prefix) this.#prefixes.set(id, source);
    else this.#exact.set(source, Math.max(id, this.#exact.get(source) ?? 0));
    this.#newest = Math.max(this.#newest, id);
  }

  drop(id: number): void {
    const rule = this.#rules.get(id);
    if (rule === undefined) return;
    this.#rules.delete(id);
    this.#prefixes.delete(id);
    if (this.#exact.get(rule.source) === id) this.#exact.delete(rule.source);
  }

  ends({ source, purgeId }: { readonly source: string; readonly purgeId: number }): boolean {
    if (purgeId >= this.#newest) return false;
    if ((this.#exact.get(source) ?? 0) > purgeId) return true;
    for (const [id, prefix] of this.#prefixes) if (id > purgeId && source.startsWith(prefix)) return true;
    return false;
  }
}
