// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are source code
/** What the counts of analytics rest on. All but the quick ones start a real Postgres. */
import type { Mutant } from './mutant.ts';

const load = 'src/analytics/processor/event-load.ts';
const loadTests = ['test/analytics/processor/event-load.test.ts'];
const rollupTests = ['test/analytics/rollup/rollup.test.ts'];
const visitorDayTests = ['test/analytics/rollup/visitor-day.test.ts'];
const visitorDay = 'src/analytics/rollup/visitor-day.ts';
const dayCounts = 'src/analytics/query/day-counts.ts';
const dayCountsTests = ['test/analytics/query/day-counts.test.ts'];

export const quickAnalyticsMutants: readonly Mutant[] = [
  {
    name: 'a gap is capped one slot too early',
    file: 'src/analytics/rollup/gaps.ts',
    edits: [['Math.min(slot - previous, GAP_MAX);', 'Math.min(slot - previous, GAP_MAX - 1);']],
    tests: ['test/analytics/rollup/gaps.test.ts'],
  },
  {
    name: 'all who ask for a day count it from its raw events',
    file: dayCounts,
    edits: [['if (shared !== undefined) return shared;', '']],
    tests: dayCountsTests,
  },
  {
    name: 'raw events of many days are counted at a time',
    file: dayCounts,
    edits: [['this.#turn.then(() => this.#count(key, count))', 'this.#count(key, count)']],
    tests: dayCountsTests,
  },
  {
    name: 'a count of raw events that fails takes the last one along',
    file: dayCounts,
    edits: [['...(this.#days.get(key) ?? UNKNOWN), failedMs', '...UNKNOWN, failedMs']],
    tests: dayCountsTests,
  },
  {
    name: 'a busy day is counted from its raw events with each question',
    file: dayCounts,
    edits: [['nowMs - day.countMs >= FRESH_MS &&', '']],
    tests: dayCountsTests,
  },
];

export const analyticsMutants: readonly Mutant[] = [
  {
    name: 'a record that the pipe repeats is a duplicate in the books',
    file: load,
    edits: [['if (!receipts.has(one.receipt)) found.set', 'if (receipts.size > 0) found.set']],
    tests: loadTests,
  },
  {
    name: 'a duplicate that the pipe repeats is two in the books',
    file: load,
    edits: [['(before.has(id) ? [] : [one])', '(before.has(one.event.eventId) ? [] : [one])']],
    tests: loadTests,
  },
  {
    name: 'a record that is no event is rejected as often as it comes',
    file: load,
    edits: [['!before.has(known) && !seen.has(known)', '!seen.has(known)']],
    tests: loadTests,
  },
  {
    name: 'an event that was refused and is stored later stays rejected',
    file: load,
    edits: [['if (week.refusals) await', 'if (week.week < 0) await']],
    tests: loadTests,
  },
  {
    name: 'events of one millisecond are one acceptance',
    file: 'src/analytics/intake/event-writer.ts',
    edits: [['    receipts.next();', '']],
    tests: ['test/analytics/intake/events-encoder.test.ts'],
  },
  {
    name: 'an id that was taken in this week is taken again',
    file: 'src/analytics/processor/dedupe.ts',
    edits: [['if (conflicts.length > 0) note(await', 'if (conflicts.length < 0) note(await']],
    tests: ['test/analytics/processor/dedupe.test.ts'],
  },
  {
    name: 'nobody looks into the other weeks',
    file: 'src/analytics/processor/dedupe.ts',
    edits: [["'(week < $2 OR week > $3)'", "'(week < $2 AND week > $3)'"]],
    tests: ['test/analytics/processor/dedupe.test.ts'],
  },
  {
    name: 'weeks do not overlap',
    file: 'src/analytics/processor/dedupe.ts',
    edits: [['const first = overlaps ? week - 1 : week;', 'const first = overlaps ? week : week;']],
    tests: ['test/analytics/processor/dedupe.test.ts'],
  },
  {
    name: 'rows are committed before they are counted',
    file: load,
    edits: [
      [
        'await found.rollups.apply(transaction);',
        "await transaction.query('COMMIT; BEGIN');\n      await found.rollups.apply(transaction);",
      ],
    ],
    tests: loadTests,
  },
  {
    name: 'the row of an event that was counted before is stored again',
    file: 'src/analytics/processor/gathered.ts',
    edits: [['    this.#encoder.leaveOut(numbers);\n', '']],
    tests: loadTests,
  },
  {
    name: 'an event that was counted before is counted again',
    file: 'src/analytics/processor/gathered.ts',
    edits: [['this.rollups.leaveOut(numbers, (', 'this.rollups.leaveOut(new Set(), (']],
    tests: loadTests,
  },
  {
    name: 'other events of a visitor are forgotten with one that is taken back',
    file: 'src/analytics/rollup/batch.ts',
    edits: [['for (const number of again) left.add', 'for (const number of again) if (number < 0) left.add']],
    tests: rollupTests,
  },
  {
    name: 'dead letters may come after the commit',
    file: 'src/analytics/processor/dead-letters.ts',
    edits: [
      [
        'if (unsent.length > 0) await this.#parts.letters.put(unsent);',
        'transaction.onCommit(() => void this.#parts.letters.put(unsent).catch(() => {}));',
      ],
    ],
    tests: loadTests,
  },
  {
    name: 'an event is counted whose days of visitors are deleted',
    file: load,
    edits: [['< firstDay(event.siteId);', '< firstDay(event.siteId) - 1e9;']],
    tests: loadTests,
  },
  {
    name: 'an anonymous visitor stands on two days',
    file: 'src/analytics/processor/visitors.ts',
    edits: [['`${dayOf(timestampMs)}\\0${visitor}`', '`${dayOf(timestampMs) > 0}\\0${visitor}`']],
    tests: loadTests,
  },
  {
    name: 'two loads change the sums of a site at once',
    file: 'src/analytics/rollup/tables.ts',
    edits: [[' ORDER BY site FOR NO KEY UPDATE)', ' ORDER BY site)']],
    tests: rollupTests,
  },
  {
    name: 'what a transaction that was rolled back has seen stays in memory',
    file: 'src/analytics/rollup/rollup.ts',
    edits: [['transaction.onCommit(() => Guard.committed(days, stored));', 'Guard.committed(days, stored);']],
    tests: rollupTests,
  },
  {
    name: 'a visit ends after the timeout and not beyond it',
    file: visitorDay,
    edits: [['part.firstMs - current.lastMs <= timeout', 'part.firstMs - current.lastMs < timeout']],
    tests: rollupTests,
  },
  {
    name: 'a visit that ended a timeout before is over',
    file: visitorDay,
    edits: [['earliest) - lastMs <= timeout', 'earliest) - lastMs < timeout']],
    tests: visitorDayTests,
  },
  {
    name: 'parts of a day are never sorted',
    file: visitorDay,
    edits: [['if (!areOrdered(parts)) parts.sort', 'if (parts.length < 0) parts.sort']],
    tests: visitorDayTests,
  },
  {
    name: 'a value of two visits that change is counted for each',
    file: 'src/analytics/rollup/count.ts',
    edits: [['=== value) < at) continue;', '=== value) < 0) continue;']],
    tests: visitorDayTests,
  },
  {
    name: 'events of the same millisecond stand in any order',
    file: 'src/analytics/rollup/drafts.ts',
    edits: [['at, at + ID_BYTES) < 0;', 'at, at + ID_BYTES) < 1000;']],
    tests: rollupTests,
  },
  {
    name: 'columns of a batch are handed on with what they hold',
    file: 'src/analytics/rollup/rollup.ts',
    edits: [['    drafts.clear();\n', '']],
    tests: rollupTests,
  },
  {
    name: 'a day begins a millisecond late',
    file: 'src/analytics/rollup/batch.ts',
    edits: [['#dayOf(counted.site, dayOf(timestampMs))', '#dayOf(counted.site, dayOf(timestampMs - 1))']],
    tests: rollupTests,
  },
  {
    name: 'days take one value too many',
    file: 'src/analytics/rollup/guard.ts',
    edits: [['if (count >= this.#max) return', 'if (count > this.#max) return']],
    tests: rollupTests,
  },
  {
    name: 'properties share their places',
    file: 'src/analytics/rollup/guard.ts',
    edits: [['day.properties.set(property, (values ?? 0) + 1)', 'day.properties.set(property, count + 1)']],
    tests: rollupTests,
  },
  {
    name: 'days around a signed-in visitor are not looked at',
    file: 'src/analytics/rollup/batch.ts',
    edits: [
      ['if (user.days.has(other) || !existing.has(other)) continue;', 'if (other !== day || day >= 0) continue;'],
    ],
    tests: rollupTests,
  },
  {
    name: 'a batch of accepted events counts instead of those before',
    file: 'src/analytics/accepted-load.ts',
    edits: [['SET accepted = h.accepted + excluded.accepted', 'SET accepted = excluded.accepted']],
    tests: ['test/analytics/accepted-load.test.ts'],
  },
  {
    name: 'accepted events count twice',
    file: 'src/analytics/accepted-load.ts',
    edits: [['sites.set(raw, (sites.get(raw) ?? 0) + 1);', 'sites.set(raw, (sites.get(raw) ?? 0) + 2);']],
    tests: ['test/analytics/accepted-load.test.ts'],
  },
];
