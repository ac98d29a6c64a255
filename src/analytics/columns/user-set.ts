/**
 * Distinct users per group over several days, in bounded memory, whatever the number of groups.
 *
 * Up to PAIRS_MAX pairs of group and user the counts are exact, but for two pairs that share a hash of 64 bits. Beyond,
 * the set keeps only the pairs whose hash ends in `level` zero bits, and a count stands for 2^level as many: adaptive
 * sampling (M. Wegman; P. Flajolet, "On adaptive sampling", Computing 43, 1990). The relative standard error of a group
 * of n users is sqrt((2^level - 1) / n).
 */
export const PAIRS_MAX = 1_500_000;

const EMPTY = 0xffff_ffff;

export class UserSet {
  readonly #pairsMax: number;
  #groups = new Uint32Array(4096).fill(EMPTY);
  #high = new Uint32Array(4096);
  #low = new Uint32Array(4096);
  #size = 0;
  #level = 0;

  constructor(pairsMax = PAIRS_MAX) {
    this.#pairsMax = pairsMax;
  }

  /** How many users one that is kept stands for; 1: the counts are exact. */
  get weight(): number {
    return 2 ** this.#level;
  }

  /** `high` and `low`: the hash of the user. */
  add(group: number, high: number, low: number): void {
    const a = mix(high ^ Math.imul(group, 0x9e37_79b1));
    const b = mix(low ^ Math.imul(group, 0x85eb_ca77) ^ a);
    if (!this.#keeps(a) || !this.#put(group, a, b)) return;
    if (this.#size > this.#pairsMax) {
      this.#level += 1;
      this.#rebuild(this.#groups.length);
    } else if (this.#size * 4 > this.#groups.length * 3) {
      this.#rebuild(2 * this.#groups.length);
    }
  }

  /** Users of each group. */
  counts(groups: number): Float64Array {
    const counts = new Float64Array(groups);
    for (const group of this.#groups) if (group !== EMPTY) counts[group]! += this.weight;
    return counts;
  }

  #keeps(a: number): boolean {
    return (a & (this.weight - 1)) === 0;
  }

  #put(group: number, a: number, b: number): boolean {
    const mask = this.#groups.length - 1;
    let at = b & mask;
    while (this.#groups[at] !== EMPTY) {
      if (this.#low[at] === b && this.#high[at] === a && this.#groups[at] === group) return false;
      at = (at + 1) & mask;
    }
    this.#groups[at] = group;
    this.#high[at] = a;
    this.#low[at] = b;
    this.#size += 1;
    return true;
  }

  #rebuild(length: number): void {
    const [groups, high, low] = [this.#groups, this.#high, this.#low];
    this.#groups = new Uint32Array(length).fill(EMPTY);
    this.#high = new Uint32Array(length);
    this.#low = new Uint32Array(length);
    this.#size = 0;
    for (let i = 0; i < groups.length; i++)
      if (groups[i] !== EMPTY && this.#keeps(high[i]!)) this.#put(groups[i]!, high[i]!, low[i]!);
  }
}

/** The finalizer of MurmurHash3 (A. Appleby), unsigned. */
function mix(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
