import { createHmac } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import {
  createSaltsMemory,
  type DaySalt,
  SALT_BYTES,
  SaltsBoard,
  untilShared,
} from '../../../src/analytics/intake/salts-board.ts';
import { findOnce, VisitorIds } from '../../../src/analytics/intake/visitor-id.ts';

const DAY = 86_400_000;
const TODAY = 20_000;
const noon = TODAY * DAY + DAY / 2;
const agent = 'Mozilla/5.0 Firefox/140.0';
const salt = (day: number, fill: number, shared = true): DaySalt => ({
  day,
  shared,
  salt: new Uint8Array(SALT_BYTES).fill(fill),
});

function open(salts: readonly DaySalt[]) {
  const memory = createSaltsMemory();
  const board = new SaltsBoard(memory);
  board.write(salts);
  let unshared = 0;
  const add = (count: number) => {
    unshared += count;
  };
  const make = () => new VisitorIds(memory, { unshared: { add } });
  return { board, make, memory, unshared: () => unshared };
}

test('an id is a keyed hash of day, address, user agent and site: 128 bits in hex', () => {
  const ids = open([salt(TODAY, 7)]).make();
  const id = ids.find('site-1', TODAY, '192.0.2.1', agent, noon);
  const key = new Uint8Array(SALT_BYTES).fill(7);
  const text = [TODAY, '192.0.2.1', agent, 'site-1'].join('\0');
  expect(id).toBe(createHmac('sha256', key).update(text).digest('hex').slice(0, 32));
  expect(ids.find('site-1', TODAY, '192.0.2.1', agent, noon)).toBe(id);
});

test('another address, user agent, site or day is another visitor; another acceptor makes the same id', () => {
  const { make, unshared } = open([salt(TODAY - 1, 1), salt(TODAY, 1)]);
  const [ids, others] = [make(), make()];
  const all = [
    ids.find('a', TODAY, '192.0.2.1', agent, noon),
    ids.find('b', TODAY, '192.0.2.1', agent, noon),
    ids.find('a', TODAY, '192.0.2.2', agent, noon),
    ids.find('a', TODAY, '192.0.2.1', '', noon),
    ids.find('a', TODAY - 1, '192.0.2.1', agent, noon),
  ];
  expect(new Set(all).size).toBe(all.length);
  expect(others.find('a', TODAY, '192.0.2.1', agent, noon)).toBe(all[0]);
  expect(unshared()).toBe(0);
});

test('without a salt on the board a thread takes a random one, which is counted, until the board has one', () => {
  const { board, make, unshared } = open([]);
  const [ids, others] = [make(), make()];
  const own = ids.find('a', TODAY, '192.0.2.1', agent, noon);
  expect(ids.find('a', TODAY, '192.0.2.1', agent, noon)).toBe(own);
  expect(others.find('a', TODAY, '192.0.2.1', agent, noon)).not.toBe(own);
  expect(unshared()).toBe(3);
  board.write([salt(TODAY, 3, false)]);
  const process = ids.find('a', TODAY, '192.0.2.1', agent, noon);
  expect(others.find('a', TODAY, '192.0.2.1', agent, noon)).toBe(process);
  expect(unshared()).toBe(5);
  board.write([salt(TODAY, 3)]);
  expect(ids.find('a', TODAY, '192.0.2.1', agent, noon)).toBe(process);
  expect(unshared()).toBe(5);
});

test('whoever takes requests waits for the salt of all processes, and not for ever', async () => {
  const { board, memory } = open([salt(TODAY, 1, false), salt(TODAY - 1, 2)]);
  const waited = untilShared(memory, () => noon, 60_000).then(() => 'open');
  expect(await Promise.race([waited, pause(30, 'waits')])).toBe('waits');
  board.write([salt(TODAY, 3)]);
  expect(await waited).toBe('open');
  // Postgres may be away.
  await untilShared(createSaltsMemory(), () => noon, 20);
});

test('tomorrow has ids for clocks that are ahead, and other days have none', () => {
  const ids = open([]).make();
  const current = [-2, -1, 0, 1, 2].filter((offset) => ids.isCurrent(TODAY + offset, noon));
  expect(current).toEqual([-1, 0, 1]);
});

// Goal: nobody can make an id of a day whose salt is destroyed, not even the thread that made it.
// Method: make an id, let 48 hours pass, ask for the id of the same visitor and day again.
test('after 48 hours the id of a day cannot be made again: the salt and the cache are gone', () => {
  const { board, make } = open([salt(TODAY, 9), salt(TODAY + 1, 8)]);
  const ids = make();
  const id = ids.find('a', TODAY, '192.0.2.1', agent, noon);
  const before = (TODAY + 2) * DAY - 1;
  expect(ids.find('a', TODAY, '192.0.2.1', agent, before), 'a late event of yesterday').toBe(id);
  const after = (TODAY + 2) * DAY;
  ids.look(after);
  // The board is not wiped yet: the reader does not depend on the worker that wipes it.
  expect(ids.find('a', TODAY, '192.0.2.1', agent, after)).not.toBe(id);
  board.write([salt(TODAY + 1, 8)]);
  expect(ids.find('a', TODAY, '192.0.2.1', agent, after)).not.toBe(id);
});

test('a request with older events tells its visitors apart by day, and is nobody that another request is', () => {
  const one = new Uint8Array(SALT_BYTES).fill(1);
  const other = new Uint8Array(SALT_BYTES).fill(2);
  const id = findOnce(one, 'a', 19_000, '192.0.2.1', agent);
  expect(id).toMatch(/^[0-9a-f]{32}$/);
  expect(findOnce(one, 'a', 19_000, '192.0.2.1', agent)).toBe(id);
  expect(findOnce(one, 'a', 19_001, '192.0.2.1', agent)).not.toBe(id);
  expect(findOnce(other, 'a', 19_000, '192.0.2.1', agent)).not.toBe(id);
});

test('the board keeps nothing of what it replaced', () => {
  const { board, memory } = open([salt(TODAY - 1, 0xaa), salt(TODAY, 0xbb), salt(TODAY + 1, 0xcc)]);
  board.write([salt(TODAY + 1, 0xdd)]);
  const bytes = new Uint8Array(memory);
  for (const old of [0xaa, 0xbb, 0xcc]) expect(bytes.includes(old)).toBe(false);
  expect(board.read().salts).toEqual([salt(TODAY + 1, 0xdd)]);
  expect(() => board.write(Array.from({ length: 4 }, (_, day) => salt(day + 1, 1)))).toThrow(RangeError);
});
