/** Keeper: what it tells about a ring that has broken its rules. */
import { expect, test } from 'vitest';
import { RingProducer, RingReader } from '../../src/engine/ring.ts';
import { CrashDisk } from './crash-disk.ts';
import { fill, openLog } from './lanes.ts';

test('the keeper tells once, by name, of a ring that overwrote bytes before they were on disk', () => {
  const warnings: { message: string; fields: Record<string, unknown> }[] = [];
  const warn = (message: string, fields: Record<string, unknown>) => void warnings.push({ message, fields });
  const log = openLog({ disk: new CrashDisk(), events: { warn }, syncIntervalMs: 1_000_000 });
  const { ring } = log.writers[0]!;
  fill(log, 0, 20);
  log.step(300);
  expect(warnings).toEqual([]);
  fill(log, 20, 5);
  // A producer that thinks there is no journal frees what the readers have passed, synced or not.
  new RingReader(ring, 0).advance(ring.tail(), ring.tailRecord());
  expect(new RingProducer(ring, false).room(ring.capacity)).toBe(true);
  expect(ring.floor()).toBeGreaterThan(ring.synced());
  log.step(300);
  log.step(300);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]!.fields).toMatchObject({ lane: '1-0', error: expect.stringContaining('R1 broken') });
});
