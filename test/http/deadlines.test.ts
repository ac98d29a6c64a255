import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { Deadline, Deadlines } from '../../src/http/deadlines.ts';
import { ManualClock } from '../../src/kernel/clock.ts';

const AFTER_MS = 20;

/** Entries by name, and the order in which they expired. */
function setUp() {
  const clock = new ManualClock();
  const expired: string[] = [];
  class Named extends Deadline {
    readonly name: string;
    constructor(name: string) {
      super();
      this.name = name;
    }
    override expire(): void {
      expired.push(this.name);
    }
  }
  const deadlines = new Deadlines(AFTER_MS, clock);
  const add = (name: string) => {
    const entry = new Named(name);
    deadlines.add(entry);
    return entry;
  };
  return { clock, deadlines, add, expired };
}

test('entries expire in their order, each at its own time, and never before', async () => {
  const { clock, add, expired } = setUp();
  add('a');
  clock.advance(AFTER_MS / 2);
  add('b');
  clock.advance(AFTER_MS / 2);
  await expect.poll(() => expired, { interval: 5 }).toEqual(['a']);
  clock.advance(AFTER_MS / 2);
  await expect.poll(() => expired, { interval: 5 }).toEqual(['a', 'b']);
});

test('an entry that is removed first, in the middle or last never expires; removing it again does nothing', async () => {
  const { clock, deadlines, add, expired } = setUp();
  const [a, , c, , e] = ['a', 'b', 'c', 'd', 'e'].map(add);
  for (const entry of [a!, c!, e!, c!]) deadlines.remove(entry);
  clock.advance(AFTER_MS);
  await expect.poll(() => expired, { interval: 5 }).toEqual(['b', 'd']);
  assert.equal(c!.waiting, false);
  add('f');
  clock.advance(AFTER_MS);
  await expect.poll(() => expired, { interval: 5 }).toEqual(['b', 'd', 'f']);
});

test('removing an entry from a list that it does not stand in leaves it where it is', async () => {
  const { clock, deadlines, add, expired } = setUp();
  const other = new Deadlines(AFTER_MS, clock);
  const a = add('a');
  other.remove(a);
  assert.equal(a.waiting, true);
  add('b');
  deadlines.remove(a);
  clock.advance(AFTER_MS);
  // With a left behind in the list this would never end.
  await expect.poll(() => expired, { interval: 5 }).toEqual(['b']);
});

test('an entry that goes from one list to another one is none of the first any more', async () => {
  const { clock, deadlines, add, expired } = setUp();
  const other = new Deadlines(AFTER_MS, clock);
  const a = add('a');
  assert.throws(() => other.add(a), /in one list at a time/);
  deadlines.remove(a);
  other.add(a);
  add('b');
  // The first list has neither lost its own entry nor got one of the other.
  deadlines.remove(a);
  assert.equal(a.waiting, true);
  clock.advance(AFTER_MS);
  await expect.poll(() => expired.toSorted(), { interval: 5 }).toEqual(['a', 'b']);
  for (const list of [deadlines, other]) list.remove(a);
  assert.equal(a.waiting, false);
});

test('an entry that is removed and added again waits its whole time', async () => {
  const { clock, deadlines, add, expired } = setUp();
  const a = add('a');
  add('b');
  clock.advance(AFTER_MS / 2);
  deadlines.remove(a);
  deadlines.add(a);
  clock.advance(AFTER_MS / 2);
  await expect.poll(() => expired, { interval: 5 }).toEqual(['b']);
  clock.advance(AFTER_MS / 2);
  await expect.poll(() => expired, { interval: 5 }).toEqual(['b', 'a']);
});
