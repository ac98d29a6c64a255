import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { changesOfGaps, GAP_DAYS, GAP_MAX, reaches, slotsOf } from '../../../src/analytics/rollup/gaps.ts';
import { noSlots, type Slots } from '../../../src/analytics/rollup/visitor-day.ts';

const DAY = 96;

function withSlot(slots: Slots, slot: number): Slots {
  const words: [number, number, number] = [...slots];
  words[slot >>> 5]! = (words[slot >>> 5]! | (1 << (slot & 31))) >>> 0;
  return words;
}

function bruteForce(slots: ReadonlySet<number>): string[] {
  return [...slots]
    .sort((a, b) => a - b)
    .map((slot, index, all) => `${slot}: ${Math.min(index === 0 ? GAP_MAX : slot - all[index - 1]!, GAP_MAX)}`)
    .sort();
}

describe('gaps', () => {
  test('the slots of a bitmap', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 95 })), (slots) => {
        const bits = slots.reduce(withSlot, noSlots);
        assert.deepEqual(
          slotsOf(bits),
          slots.toSorted((a, b) => a - b),
        );
      }),
    );
  });

  // Goal: entries are those of all slots, whatever the order in which slots come and although only days that a gap may
  // reach are looked at. Method: batches of slots of one user over nine days, as rollup.ts goes about it.
  test('any batches of slots leave the entries that a brute force counts', () => {
    const batch = fc.array(fc.integer({ min: 0, max: 9 * DAY - 1 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 20 }), (batches) => {
        const stored = new Map<number, Slots>();
        const entries = new Map<string, number>();
        for (const slots of batches) {
          const changed = new Map<number, { before: Slots; after: Slots }>();
          for (const slot of slots) {
            const day = Math.floor(slot / DAY);
            const before = stored.get(day) ?? noSlots;
            changed.set(day, { before, after: withSlot(changed.get(day)?.after ?? before, slot % DAY) });
          }
          const days = new Map(changed);
          for (const [day, { before, after }] of changed) {
            for (let away = -GAP_DAYS; away <= GAP_DAYS; away += 1) {
              const other = stored.get(day + away);
              if (other === undefined || changed.has(day + away) || !reaches(before, after, away)) continue;
              days.set(day + away, { before: other, after: other });
            }
          }
          changesOfGaps({ days }, (slot, gap, by) => {
            const key = `${slot}: ${gap}`;
            entries.set(key, (entries.get(key) ?? 0) + by);
          });
          for (const [day, { after }] of changed) stored.set(day, after);
        }
        const found = [...entries].filter(([, users]) => users !== 0);
        assert.ok(found.every(([, users]) => users === 1));
        assert.deepEqual(found.map(([key]) => key).sort(), bruteForce(new Set(batches.flat())));
      }),
      { numRuns: 500 },
    );
  });
});
