/** Sums of the groups of a scan: arrays by the number of the group, which is the same on every day. */
import type { ScanRow } from '../query/types.ts';
import { UserSet } from './user-set.ts';

/** Values of a dimension are told apart up to this many characters in all. */
const KEY_CHARACTERS_MAX = 32 * 1024 * 1024;
/** No group: what is not counted. */
export const NONE = -1;

export class Tally {
  readonly #keys: string[];
  readonly #groups = new Map<string, number>();
  #characters = 0;
  #cut = false;
  readonly users = new UserSet();
  events: Float64Array;
  views: Float64Array;
  visits: Float64Array;
  bounces: Float64Array;
  durationMs: Float64Array;
  engagedMs: Float64Array;
  visitors: Float64Array;
  /** The last visitor that counted for a group: the visits of a visitor are neighbours, so it is one comparison. */
  lastVisitor: Float64Array;

  /** `keys`: groups that are known from the start. */
  constructor(keys: readonly string[]) {
    this.#keys = [...keys];
    const length = Math.max(keys.length, 64);
    this.events = new Float64Array(length);
    this.views = new Float64Array(length);
    this.visits = new Float64Array(length);
    this.bounces = new Float64Array(length);
    this.durationMs = new Float64Array(length);
    this.engagedMs = new Float64Array(length);
    this.visitors = new Float64Array(length);
    this.lastVisitor = new Float64Array(length);
  }

  /** Some values are missing: there are too many of them. */
  get cut(): boolean {
    return this.#cut;
  }

  /** Group of a value. The arrays may be others afterwards. */
  group(key: string): number {
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    if (this.#characters + key.length > KEY_CHARACTERS_MAX) {
      this.#cut = true;
      return NONE;
    }
    this.#characters += key.length + 16;
    const group = this.#keys.push(key) - 1;
    this.#groups.set(key, group);
    if (group === this.events.length) this.#grow();
    return group;
  }

  rows(): ScanRow[] {
    const users = this.users.counts(this.#keys.length);
    return this.#keys.map((key, i) => ({
      key,
      visitors: this.visitors[i]! + users[i]!,
      visits: this.visits[i]!,
      views: this.views[i]!,
      bounces: this.bounces[i]!,
      durationMs: this.durationMs[i]!,
      engagedMs: this.engagedMs[i]!,
      events: this.events[i]!,
    }));
  }

  #grow(): void {
    const larger = (old: Float64Array): Float64Array => {
      const array = new Float64Array(2 * old.length);
      array.set(old);
      return array;
    };
    this.events = larger(this.events);
    this.views = larger(this.views);
    this.visits = larger(this.visits);
    this.bounces = larger(this.bounces);
    this.durationMs = larger(this.durationMs);
    this.engagedMs = larger(this.engagedMs);
    this.visitors = larger(this.visitors);
    this.lastVisitor = larger(this.lastVisitor);
  }
}
