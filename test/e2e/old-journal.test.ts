/**
 * Goal: a journal that commit 3bf89aa wrote, the first one that was handed out, is delivered by today's collector:
 * every event once, byte for byte, in the order of its lane, and none that was delivered before. Method: two journals
 * kept in test/fixtures/old-journal (make.ts there says how they came to be), read by today's code, then given to
 * today's collector.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { expect, type TestContext, test } from 'vitest';
import { readCheckpoint, readIdentity } from '../../src/engine/journal.ts';
import { walkLane } from '../../src/engine/journal-walk.ts';
import { recoverLanes } from '../../src/engine/recovery.ts';
import { laneKey } from '../../src/engine/segment.ts';
import * as record from '../../src/events/record.ts';
import { Collector, temporary } from '../servers/collector.ts';
import { startPostgres } from '../servers/postgres.ts';
import { sql } from '../sinks/postgres/fixture.ts';

interface OldRecord {
  readonly line: string;
  /** Trace id and span id, hex. */
  readonly trace?: string;
}

interface OldJournal {
  readonly commit: string;
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly head: string }>>;
  /** Records that stand in events.ndjson already. */
  readonly delivered: number;
  readonly lanes: readonly { readonly lane: string; readonly records: readonly OldRecord[] }[];
}

const ENV = {
  OUTPUTS: 'log',
  LOG_PATH: 'events.ndjson',
  JOURNAL_DIR: 'journal',
  RING_BYTES: '1MiB',
  SEGMENT_BYTES: '1MiB',
  MAX_BODY_BYTES: '128KiB',
};

/** Puts a kept journal into a folder of its own. */
function unpack(t: TestContext, name: string): { folder: string; journal: OldJournal } {
  const packed = readFileSync(join(import.meta.dirname, '..', 'fixtures', 'old-journal', `${name}.json.br`));
  const journal = JSON.parse(brotliDecompressSync(packed).toString()) as OldJournal;
  assert.equal(journal.commit, '3bf89aa');
  const folder = temporary(t);
  for (const [path, { bytes, head }] of Object.entries(journal.files)) {
    const content = Buffer.alloc(bytes);
    content.write(head, 'base64');
    mkdirSync(dirname(join(folder, path)), { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, path), content, { mode: 0o600 });
  }
  return { folder, journal };
}

/** What today's readers find in the journal. */
function read(folder: string): OldJournal['lanes'] {
  const dir = join(folder, 'journal');
  const logId = Buffer.from(readIdentity(dir)!.log, 'hex');
  return recoverLanes(dir, logId).map((lane) => {
    const records: OldRecord[] = [];
    for (const { buffer, offsets, count, losses } of walkLane(dir, logId, lane, 1 << 20)) {
      assert.deepEqual(losses, []);
      for (const offset of offsets.subarray(0, count)) {
        const start = record.jsonStart(offset);
        const line = buffer.toString('utf8', start, start + record.jsonLength(buffer, offset));
        checkFields(buffer, offset, JSON.parse(line));
        const trace = record.traceOf(buffer, offset)?.toString('hex');
        records.push(trace === undefined ? { line } : { line, trace });
      }
    }
    return { lane: laneKey(lane.id), records };
  });
}

/** The fixed fields of a record say what its line says. */
function checkFields(
  buffer: Buffer,
  offset: number,
  event: { event_id: string; ts: string; e: string; uid?: string },
): void {
  assert.equal(record.eventIdAt(buffer, offset).toString('hex'), event.event_id.replaceAll('-', ''));
  assert.equal(record.eventIdTextAt(buffer, offset).toString(), event.event_id);
  assert.equal(record.tsMsAt(buffer, offset), Date.parse(event.ts));
  assert.equal(record.eventType(buffer, offset), event.e);
  assert.equal(record.uidOf(buffer, offset), event.uid);
}

const linesIn = (folder: string): string[] => {
  const path = join(folder, 'events.ndjson');
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
};

/** Lets today's collector deliver until the file has `count` lines, and end in order; what the file holds then. */
async function deliver(t: TestContext, folder: string, port: number, count: number): Promise<string[]> {
  const collector = new Collector(t, { port, folder, env: ENV });
  await collector.start();
  await expect
    .poll(() => linesIn(folder).length >= count, { message: `the file has all events\n${collector.log}` })
    .toBe(true);
  assert.equal(await collector.kill('SIGTERM'), 0, collector.log);
  return linesIn(folder);
}

test('a journal of 3bf89aa that no sink has seen is delivered whole: two lives, three lanes, all kinds', async (t) => {
  const { folder, journal } = unpack(t, 'owed');
  assert.deepEqual(
    journal.lanes.map(({ lane }) => lane),
    ['1-0', '2-0', '2-1'],
  );
  const all = journal.lanes.flatMap(({ records }) => records);
  assert.equal(
    all.filter(({ trace }) => trace !== undefined).length,
    3 * 8,
    'a pixel and a batch of seven, three times',
  );
  assert.deepEqual(read(folder), journal.lanes);
  const found = await deliver(t, folder, 22_231, all.length);
  assert.equal(found.length, all.length);
  for (const { lane, records } of journal.lanes) {
    const mine = new Set(records.map(({ line }) => line));
    assert.deepEqual(
      found.filter((line) => mine.has(line)),
      records.map(({ line }) => line),
      `lane ${lane}`,
    );
  }
  // The older life comes first.
  const [first] = journal.lanes;
  assert.deepEqual(
    found.slice(0, first!.records.length),
    first!.records.map(({ line }) => line),
  );
});

// Goal: what 3bf89aa has stored is known by its cursor, although neither journal nor table knew ids of lives; from the first new life on
// there are ids. Method: the table of cursors as 3bf89aa made it, with the row that it would have left; then two lives of today.
test('a cursor of 3bf89aa in Postgres is followed, and the lives after it have ids, in the journal and in the table', async (t) => {
  const { folder, journal } = unpack(t, 'halfway');
  const lines = journal.lanes[0]!.records.map(({ line }) => line);
  const dir = join(folder, 'journal');
  const { log } = readIdentity(dir)!;
  const { life, lanes } = readCheckpoint(dir, 'log')!;
  const [[lane, position, record]] = lanes as [readonly [number, number, number]];
  const { dsn } = await startPostgres(t, { port: 22_233 });
  await sql(
    dsn,
    `CREATE TABLE ringmain_cursors (log_id text, sink text, life bigint, lane int, position bigint NOT NULL, record bigint NOT NULL,
       epoch bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (log_id, sink, life, lane))`,
  );
  await sql(dsn, "INSERT INTO ringmain_cursors VALUES ($1, 'postgres', $2, $3, $4, $5, 7)", [
    log,
    life,
    lane,
    position,
    record,
  ]);
  const env = { ...ENV, OUTPUTS: 'postgres', PG_DSN: dsn, PG_TABLE: 'events', PG_GIN: 'off', SINK_KEEP: 'log' };
  const stored = async () => (await sql<{ n: string }>(dsn, 'SELECT payload FROM events').catch(() => [])).length;
  const collector = new Collector(t, { port: 22_234, folder, env });
  for (const more of [1, 2]) {
    await collector.start();
    await collector.deliver([{ e: 'new' }]);
    await expect.poll(stored, { message: collector.log }).toBe(lines.length - journal.delivered + more);
    assert.equal(await collector.kill('SIGTERM'), 0, collector.log);
  }
  const { lives } = readIdentity(dir)!;
  assert.deepEqual(
    lives!.map(([number]) => number),
    [life + 1, life + 2],
  );
  const rows = await sql<{ log_id: string }>(dsn, 'SELECT log_id FROM ringmain_cursors WHERE lane >= 0 ORDER BY life');
  assert.deepEqual(
    rows.map(({ log_id }) => log_id),
    [log, ...lives!.map(([, id]) => `${log}/${id}`)],
  );
});

test('a journal of 3bf89aa goes on behind its checkpoint: what the file has is not written again', async (t) => {
  const { folder, journal } = unpack(t, 'halfway');
  const [lane] = journal.lanes;
  const lines = lane!.records.map(({ line }) => line);
  assert.equal(journal.delivered, 20);
  assert.deepEqual(linesIn(folder), lines.slice(0, 20));
  assert.deepEqual(read(folder), journal.lanes);
  assert.deepEqual(await deliver(t, folder, 22_232, lines.length), lines);
});
