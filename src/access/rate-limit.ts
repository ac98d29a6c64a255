/**
 * Rate limit: how often somebody may try, by GCRA (ITU-T I.371): one number per name, the time at which all of its
 * tries will be forgiven. Within a time t, `burst + floor(t / intervalMs)` tries pass, and the next one does not.
 *
 * Bounded: NAMES names. A name is forgotten when its time has come; when all are still held, the one that would be
 * forgiven first goes, which is the one that has tried least.
 */
export interface Limit {
  /** Tries at once. */
  readonly burst: number;
  /** One more try after this time. */
  readonly intervalMs: number;
}

/** Of 100 bytes or so. */
const NAMES = 50_000;
/** Names that are looked at for one to forget. */
const LOOKS = 16;

export class RateLimit {
  readonly #limit: Limit;
  readonly #namesMax: number;
  /** By name: when all tries are forgiven, by the clock of the caller. The one that has waited longest comes first. */
  readonly #forgiven = new Map<string, number>();

  constructor(limit: Limit, namesMax = NAMES) {
    this.#limit = limit;
    this.#namesMax = namesMax;
  }

  /** Takes one try. 0: it may; else ms until the next one may, and nothing is taken. */
  take(name: string, nowMs: number): number {
    const { burst, intervalMs } = this.#limit;
    const forgiven = Math.max(this.#forgiven.get(name) ?? 0, nowMs);
    const wait = forgiven + intervalMs - burst * intervalMs - nowMs;
    if (wait > 0) return wait;
    this.#forgiven.delete(name);
    if (this.#forgiven.size >= this.#namesMax) this.#forget(nowMs);
    this.#forgiven.set(name, forgiven + intervalMs);
    return 0;
  }

  /** Gives a try back: it was a good one. */
  giveBack(name: string): void {
    const forgiven = this.#forgiven.get(name);
    if (forgiven !== undefined) this.#forgiven.set(name, forgiven - this.#limit.intervalMs);
  }

  get size(): number {
    return this.#forgiven.size;
  }

  #forget(nowMs: number): void {
    let least: string | undefined;
    let until = Number.POSITIVE_INFINITY;
    let looks = 0;
    for (const [name, forgiven] of this.#forgiven) {
      if (forgiven < until) [least, until] = [name, forgiven];
      looks += 1;
      if (forgiven <= nowMs || looks === LOOKS) break;
    }
    if (least !== undefined) this.#forgiven.delete(least);
  }
}

/** What an address counts as: a subscriber of IPv6 has a whole /64 to try from. `address`: in its one spelling. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const [left = '', right] = address.split('::');
  const groups = left === '' ? [] : left.split(':');
  if (right !== undefined) {
    const tail = right === '' ? [] : right.split(':');
    while (groups.length + tail.length < 8) groups.push('0');
    groups.push(...tail);
  }
  return `${groups.slice(0, 4).join(':')}::/64`;
}
