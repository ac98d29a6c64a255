import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { layBacklog } from '../../native-bench/rig/backlog.ts';
import { readIdentity } from '../../src/engine/journal.ts';
import { walkLane } from '../../src/engine/journal-walk.ts';
import { recoverLanes } from '../../src/engine/recovery.ts';
import { eventIdAt, eventIdTextAt, jsonLength, jsonStart } from '../../src/events/record.ts';

test('a backlog is a lane that recovery takes: every event once, its id in bytes and in text', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'ringmain-backlog-'));
  t.onTestFinished(() => rmSync(dir, { recursive: true }));
  const { bytes, events } = layBacklog(dir, 300_000);
  const logId = Buffer.from(readIdentity(dir)!.log, 'hex');
  const lanes = recoverLanes(dir, logId);
  assert.deepEqual(
    lanes.map(({ end }) => end),
    [{ position: bytes, record: events }],
  );
  const ids = new Set<string>();
  let records = 0;
  for (const { count, offsets, buffer } of walkLane(dir, logId, lanes[0]!, 65_536)) {
    for (const record of offsets.subarray(0, count)) {
      const from = jsonStart(record);
      const line = buffer.toString('latin1', from, from + jsonLength(buffer, record));
      const { event_id: id } = JSON.parse(line) as { event_id: string };
      assert.equal(eventIdTextAt(buffer, record).toString('latin1'), id);
      assert.equal(eventIdAt(buffer, record).toString('hex'), id.replaceAll('-', ''));
      ids.add(id);
      records += 1;
    }
  }
  assert.equal(records, events);
  assert.equal(ids.size, events);
});
