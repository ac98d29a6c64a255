/** Lane control: what the keeper may believe of a producer that is rotating. */
import { expect, test } from 'vitest';
import { createLaneControl, LaneControl } from '../../src/engine/lane-control.ts';

/** Byte offsets of the table in lane-control.ts. */
const CURRENT_FD = 132;
const CURRENT_BASE = 136;

// A keeper that took the new file for the old one would close it as soon as the rotation counts: every later write
// would fail.
test('in the middle of a rotation there is no current segment to be seen, before and after it there is', () => {
  const memory = createLaneControl();
  const control = new LaneControl(memory);
  control.offerSpare({ fd: 7, serial: 1, bytes: 8192 });
  control.setCurrent(7, 0, 4096, 0);
  const before = { rotations: 1, fd: 7, base: 0, end: 4096, generation: 0 };
  expect(control.current()).toEqual(before);
  control.offerSpare({ fd: 9, serial: 2, bytes: 8192 });
  expect(control.current()).toEqual(before);
  // The first stores of setCurrent(), and the thread stops here.
  new Int32Array(memory)[CURRENT_FD / 4] = 9;
  expect(control.current()).toBeUndefined();
  new Float64Array(memory)[CURRENT_BASE / 8] = 4096;
  expect(control.current()).toBeUndefined();
  control.setCurrent(9, 4096, 8192, 0);
  expect(control.current()).toEqual({ rotations: 2, fd: 9, base: 4096, end: 8192, generation: 0 });
});

test('a spare goes one way: offered, then taken or refused, and a refused one comes back once', () => {
  const control = new LaneControl(createLaneControl());
  const spare = { fd: 7, serial: 3, bytes: 8192 };
  expect(control.spare()).toBeUndefined();
  expect(control.spareBytes()).toBe(0);
  control.offerSpare(spare);
  expect(control.spare()).toEqual(spare);
  expect(control.takeRefused()).toBeUndefined();
  control.refuseSpare();
  expect(control.spare()).toBeUndefined();
  expect(control.takeRefused()).toEqual(spare);
  expect(control.takeRefused()).toBeUndefined();
});
