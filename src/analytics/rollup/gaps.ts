/**
 * Gaps: distinct signed-in users of any window of up to 25 hours, exactly and from sums. For each slot in which a user
 * was there, `user_gaps` counts how many slots lie between it and the slot in which the user was there before; GAP_MAX
 * stands for all longer ones and for "never". A user is counted in [a, b) once, in the user's first slot of it:
 *
 *   distinct users of [a, b)  =  sum of users where a <= slot < b and gap > slot - a      (b - a <= 100 slots)
 *
 * A late event puts a slot between two others: the gap of the following slot changes with it. Gaps reach two days back
 * (100 slots), so the days around are looked at.
 */
import { SLOTS_PER_DAY } from '../dimensions.ts';
import { gapKinds } from './measures.ts';
import type { Slots } from './visitor-day.ts';

/** More than 25 hours, or never before. */
export const GAP_MAX = 101;
/** Days that a gap reaches over, and a following slot may lie ahead. */
export const GAP_DAYS = 2;

/** The slots of one user that are known: of days that have changed, and of those around them. */
export interface UserSlots {
  /** By day. `before` and `after` are the same for days that have not changed. */
  readonly days: ReadonlyMap<number, { readonly before: Slots; readonly after: Slots }>;
}

/** Whether a gap may reach from the changed slots of a day into another day: else that day need not be looked at. */
export function reaches(before: Slots, after: Slots, daysAway: number): boolean {
  const added = slotsOf(after).filter((slot) => !has(before, slot));
  if (added.length === 0) return false;
  const all = slotsOf(after);
  // Backwards from the day's first slot, or forwards from its last one; those between have their neighbours here.
  if (daysAway < 0) return added[0] === all[0] && all[0]! + daysAway * -SLOTS_PER_DAY - (SLOTS_PER_DAY - 1) < GAP_MAX;
  return added.at(-1) === all.at(-1) && daysAway * SLOTS_PER_DAY - all.at(-1)! < GAP_MAX;
}

/** Calls `change(slot, gap, by)` for every entry of the user that comes or goes. */
export function changesOfGaps(user: UserSlots, change: (slot: number, gap: number, by: 1 | -1) => void): void {
  const before: number[] = [];
  const after: number[] = [];
  for (const [day, slots] of [...user.days].sort(([a], [b]) => a - b)) {
    for (const slot of slotsOf(slots.before)) before.push(day * SLOTS_PER_DAY + slot);
    for (const slot of slotsOf(slots.after)) after.push(day * SLOTS_PER_DAY + slot);
  }
  // Slots are only added: `before` is a part of `after`.
  let at = 0;
  for (let index = 0; index < after.length; index += 1) {
    const slot = after[index]!;
    const gap = gapOf(slot, after[index - 1]);
    if (before[at] !== slot) {
      change(slot, gap, 1);
      continue;
    }
    const was = gapOf(slot, before[at - 1]);
    if (was !== gap) {
      change(slot, was, -1);
      change(slot, gap, 1);
    }
    at += 1;
  }
}

function gapOf(slot: number, previous: number | undefined): number {
  return previous === undefined ? GAP_MAX : Math.min(slot - previous, GAP_MAX);
}

const has = (slots: Slots, slot: number): boolean => (slots[slot >>> 5]! & (1 << (slot & 31))) !== 0;

export function slotsOf(slots: Slots): number[] {
  const list: number[] = [];
  for (let word = 0; word < 3; word += 1) {
    for (let bits = slots[word]!; bits !== 0; bits &= bits - 1) list.push(word * 32 + 31 - Math.clz32(bits & -bits));
  }
  return list;
}

/** What a batch adds to `user_gaps` of one site. */
export class GapCells {
  readonly site: number;
  readonly #users = new Map<number, number>();

  constructor(site: number) {
    this.site = site;
  }

  add(kind: number, slot: number, gap: number, by: number): void {
    const key = (slot * 2 + kind) * 128 + gap;
    this.#users.set(key, (this.#users.get(key) ?? 0) + by);
  }

  /** In the order of the primary key. */
  rows(): { site: number; kind: number; slot: number; gap: number; users: number }[] {
    const rows = [...this.#users]
      .filter(([, users]) => users !== 0)
      .map(([key, users]) => {
        const both = Math.floor(key / 128);
        return { site: this.site, kind: both & 1, slot: Math.floor(both / 2), gap: key - both * 128, users };
      });
    return rows.sort((a, b) => a.kind - b.kind || a.slot - b.slot || a.gap - b.gap);
  }
}

export const kindsOfGaps = [gapKinds.viewers, gapKinds.visitors] as const;
