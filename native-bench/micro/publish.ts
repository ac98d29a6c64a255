/** What does it cost to publish an event into a lane, alone and with others, beside the copies and the write it is made of? */
import { writeSync } from 'node:fs';
import { benchLane, preallocated, record, ringBytes } from '../rig/lane-rig.ts';
import { type Case, micro } from '../rig/micro.ts';

const memory = benchLane(false);
const journal = benchLane(true);
const page = Buffer.alloc(4096);
const source = Buffer.alloc(record.length, 'y');
const target = Buffer.alloc(ringBytes);
const shared = Buffer.from(new SharedArrayBuffer(ringBytes));
const file = preallocated('limit', ringBytes);
const chunk = 4096;

/** Copies the record through a buffer as large as the ring. */
const copyInto = (into: Buffer) => (): number => {
  for (let i = 0, at = 0; i < chunk; i++, at += record.length) {
    if (at + record.length > into.length) at = 0;
    source.copy(into, at);
  }
  return chunk;
};
/** Writes whole pages holding `events` records over a preallocated file. */
const writePages = (events: number) => {
  const bytes = Math.ceil((events * record.length) / page.length) * page.length;
  const pages = Buffer.alloc(bytes);
  let at = 0;
  return (): number => {
    for (let i = 0; i < chunk; i += events) {
      if (at + bytes > ringBytes) at = 0;
      writeSync(file, pages, 0, bytes, at);
      at += bytes;
    }
    return chunk;
  };
};
const publish = (lane: typeof memory, events: number) => (): number => {
  for (let i = 0; i < chunk; i += events) lane.publish(events);
  return chunk;
};

const cases: Case[] = [
  { name: `copy of its ${record.length} bytes, private memory`, kind: 'limit', run: copyInto(target) },
  { name: 'the same into shared memory', kind: 'limit', run: copyInto(shared) },
  { name: 'write(2) of a page per event', kind: 'limit', run: writePages(1) },
  { name: 'write(2) of the pages of 32 events, per event', kind: 'limit', run: writePages(32) },
  ...[1, 8, 32].map((events) => ({ name: `publish to memory, ${events} at once`, run: publish(memory, events) })),
  ...[1, 8, 32].map((events) => ({ name: `publish to the journal, ${events} at once`, run: publish(journal, events) })),
];
await micro({ asks: 'What does a publish cost?', unit: 'event', cases });
