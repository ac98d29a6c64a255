/** What does it cost a sink to read an event out of the ring, and does a second or fourth reader cost more than the first? */
import { Batch } from '../../src/engine/batch.ts';
import { LaneReader } from '../../src/engine/lane-reader.ts';
import { benchLane, id, record, ringBytes } from '../rig/lane-rig.ts';
import { type Case, micro } from '../rig/micro.ts';

const events = 4096; // about 2 MB: more than the caches of a core hold, an eighth of the ring
const perBatch = 512;

function readers(count: number): () => number {
  const lane = benchLane(false, count);
  const batch = new Batch(512 * 1024);
  const all = Array.from(
    { length: count },
    (_, i) => new LaneReader({ id, ring: lane.ring }, i, { position: 0, record: 0 }, undefined),
  );
  return () => {
    for (let i = 0; i < events; i += 32) lane.publish(32);
    for (const reader of all) {
      for (;;) {
        batch.begin(id, reader.mark);
        if (!reader.fill(batch, perBatch)) break;
        reader.advance(reader.mark);
      }
    }
    return events;
  };
}

const source = Buffer.from(new SharedArrayBuffer(ringBytes));
const target = Buffer.alloc(256 * 1024);
let at = 0;
const copy = (): number => {
  for (let done = 0; done < events * record.length; done += target.length) {
    at = (at + target.length) % source.length;
    source.copy(target, 0, at, at + target.length);
  }
  return events;
};

const cases: Case[] = [
  { name: `copy of ${record.length} bytes out of shared memory`, kind: 'limit', run: copy },
  ...[0, 1, 2, 3, 4].map((count) => ({ name: `publish, then read by ${count}`, run: readers(count) })),
];
await micro({ asks: 'What does a reader of the ring cost, in batches of 512?', unit: 'event', cases });
