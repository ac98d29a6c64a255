/**
 * Backlog: a journal with gigabytes that no sink has seen, made by the engine's own writer in this process. By HTTP it would take
 * minutes; a process that was killed behind a dead sink leaves the same files.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { realDisk } from '../../src/engine/disk.ts';
import { lanesFolder, openJournal } from '../../src/engine/journal.ts';
import { LaneWriter } from '../../src/engine/lane.ts';
import { createLaneControl } from '../../src/engine/lane-control.ts';
import { createRing } from '../../src/engine/ring.ts';
import { laneFolder, spareName } from '../../src/engine/segment.ts';
import { at, EVENT_KIND, EVENT_VERSION, packRecords } from '../../src/events/record.ts';
import { createWakeWords } from '../../src/kernel/threads/wake.ts';

const MiB = 2 ** 20;
const segmentBytes = 64 * MiB;
const perPublish = 100;
/** Length of the line of a pixel event. */
const lineBytes = 480;

/** One event with a place for its id; the rest of its line is what an event's text is like for a sink: bytes. */
function template(): Buffer {
  const head =
    '{"event_id":"00000000-0000-7000-8000-000000000000","ts":"2026-11-21T08:00:00.123Z","e":"backlog","props":{"x":"';
  const line = `${head}${'x'.repeat(lineBytes - head.length - 3)}"}}`;
  const { buffer } = packRecords([{ line: Buffer.from(line), receivedMs: Date.now() }]);
  return buffer.subarray(0, at.json + line.length + 1);
}
const idText = at.json + '{"event_id":"'.length + 24;

export interface Backlog {
  readonly bytes: number;
  readonly events: number;
}

/** Lays `bytes` of undelivered events into the journal at `dir`, as one lane of a life that has ended. */
export function layBacklog(dir: string, bytes: number): Backlog {
  const { identity, logId, lock } = openJournal(dir);
  const id = { life: identity.life, lane: 0 };
  const folder = join(lanesFolder(dir), laneFolder(id));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const parts = { id, ring: createRing(16 * MiB, 0), control: createLaneControl(), wake: createWakeWords(1) };
  const writer = new LaneWriter({ ...parts, journal: dir, logId });
  const record = template();
  const opened: number[] = [];
  let events = 0;
  while (writer.tail < bytes) {
    if (!writer.control.spareReady()) {
      const serial = opened.length + 1;
      const fd = realDisk.open(join(folder, spareName(serial)), 'wx+');
      realDisk.truncate(fd, segmentBytes); // a hole reads as zeros: what a keeper would have written
      opened.push(fd);
      writer.control.offerSpare({ fd, serial, bytes: segmentBytes });
    }
    for (let i = 0; i < perPublish; i++) {
      const offset = writer.begin(record.length);
      events += 1;
      record.write(events.toString(16).padStart(12, '0'), idText, 'latin1');
      record.writeUIntBE(events, at.eventId + 10, 6);
      record.copy(writer.buffer, offset + 8, 8);
      writer.commit(offset + record.length, EVENT_KIND, EVENT_VERSION);
    }
    if (!writer.publish()) throw writer.stuck;
    writer.ring.setSynced(writer.tail); // it is, when this function returns
  }
  for (const fd of opened) {
    realDisk.fdatasync(fd);
    realDisk.close(fd);
  }
  lock.release();
  return { bytes: writer.tail, events };
}
