/** Places of exports: how many run at once, and when a place is free again. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { EXPORTS_MAX, ExportPlaces } from '../../../src/sms/reports/places.ts';

async function* pieces(count: number): AsyncGenerator<number> {
  for (let i = 0; i < count; i += 1) yield i;
}
const busy = { code: 'EXPORTS_BUSY', status: 503, retry: true };

test('a customer has one export at a time, and an acceptor so many; the end of one gives its place back', async () => {
  const places = new ExportPlaces();
  const hold = (who: string) => places.hold(who, () => pieces(2));
  const running = Array.from({ length: EXPORTS_MAX }, (_, i) => hold(`c${i}`));
  assert.throws(() => hold('c0'), busy);
  assert.throws(() => hold('other'), busy);
  const [first] = running;
  assert.deepEqual(
    [await first!.next(), await first!.next()].map(({ value }) => value),
    [0, 1],
  );
  assert.throws(() => hold('c0'), busy);
  assert.equal((await first!.next()).done, true);
  const again = hold('c0');
  await again.next();
  await again.return(undefined);
  assert.equal((await hold('c0').next()).value, 0);
});

test('an export that fails gives its place back', async () => {
  const places = new ExportPlaces();
  const failing = places.hold('c', async function* (): AsyncGenerator<number> {
    yield 1;
    throw new Error('cut');
  });
  await failing.next();
  await assert.rejects(failing.next(), /cut/);
  assert.equal((await places.hold('c', () => pieces(1)).next()).value, 0);
});
