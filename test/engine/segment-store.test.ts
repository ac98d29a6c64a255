/** Spares: filled with zeros past the page cache where that can be had, and through it where not. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'vitest';
import { type Disk, realDisk } from '../../src/engine/disk.ts';
import { type LaneId, laneFolder, PAGE, spareName } from '../../src/engine/segment.ts';
import { SegmentStore } from '../../src/engine/segment-store.ts';

const lane: LaneId = { life: 1, lane: 0 };
/** Neither one step nor a whole number of them. */
const BYTES = 3 * 2 ** 20 + 5 * PAGE;

interface Calls {
  readonly opened: number[];
  readonly closed: number[];
  readonly synced: number[];
  readonly written: { fd: number; bytes: number; position: number }[];
}

function stage(t: TestContext, change: (disk: Disk) => Partial<Disk> = () => ({})) {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-store-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, laneFolder(lane)));
  const calls: Calls = { opened: [], closed: [], synced: [], written: [] };
  const base: Disk = { ...realDisk, ...change(realDisk) };
  const note = (fd: number): number => {
    calls.opened.push(fd);
    return fd;
  };
  const disk: Disk = {
    ...base,
    open: (path, flags, mode) => note(base.open(path, flags, mode)),
    openDirect(path) {
      const fd = base.openDirect?.(path);
      return fd === undefined ? undefined : note(fd);
    },
    close(fd) {
      calls.closed.push(fd);
      base.close(fd);
    },
    fdatasync(fd) {
      calls.synced.push(fd);
      base.fdatasync(fd);
    },
    write(fd, buffer, offset, bytes, position) {
      base.write(fd, buffer, offset, bytes, position);
      calls.written.push({ fd, bytes, position });
    },
  };
  return { store: new SegmentStore(folder, disk), folder, calls };
}

function fill(store: SegmentStore) {
  store.start(lane, BYTES);
  for (let steps = 0; steps < 10; steps++) {
    const spare = store.step(lane);
    if (spare !== undefined) return spare;
  }
  throw new Error('a spare of 3 MiB must be whole after ten steps');
}

function whole(
  { folder, calls }: ReturnType<typeof stage>,
  spare: { fd: number; serial: number; bytes: number },
): void {
  assert.equal(spare.bytes, BYTES);
  const bytes = readFileSync(join(folder, laneFolder(lane), spareName(spare.serial)));
  assert.equal(bytes.length, BYTES);
  assert.ok(bytes.every((byte) => byte === 0));
  assert.equal(calls.synced.at(-1), spare.fd, 'synced before it is handed out');
  assert.deepEqual(
    calls.opened.filter((fd) => !calls.closed.includes(fd)),
    [spare.fd],
    'no handle is left but its own',
  );
  let end = 0;
  for (const { position, bytes: count } of calls.written) {
    assert.equal(position, end, 'no hole');
    end += count;
  }
}

test("zeros go past the page cache, in one sync, and every handle but the spare's own is closed", (t) => {
  const s = stage(t);
  const spare = fill(s.store);
  whole(s, spare);
  assert.ok(
    s.calls.written.every(({ fd }) => fd !== spare.fd),
    'memory, position and length suit a direct write',
  );
  assert.equal(s.calls.synced.length, 1);
});

test('where direct writes cannot be had the zeros go through the page cache, each piece synced', (t) => {
  const s = stage(t, () => ({ openDirect: () => undefined }));
  const spare = fill(s.store);
  whole(s, spare);
  assert.equal(s.calls.synced.length, s.calls.written.length);
});

test('a direct write that is refused for being one is repeated through the page cache', (t) => {
  let direct = -1;
  let left = 2;
  const s = stage(t, (disk) => ({
    openDirect: (path) => {
      direct = disk.openDirect!(path)!;
      return direct;
    },
    write(fd, buffer, offset, bytes, position) {
      if (fd === direct && left-- === 0) throw Object.assign(new Error('EINVAL'), { code: 'EINVAL' });
      disk.write(fd, buffer, offset, bytes, position);
    },
  }));
  whole(s, fill(s.store));
});

test('a disk that is full is told, and giving up leaves neither handle nor file', (t) => {
  const s = stage(t, () => ({
    write() {
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    },
  }));
  s.store.start(lane, BYTES);
  assert.throws(() => s.store.step(lane), { code: 'ENOSPC' });
  s.store.abandon(lane);
  assert.deepEqual(s.calls.opened.sort(), s.calls.closed.sort());
  assert.deepEqual(realDisk.list(join(s.folder, laneFolder(lane))), []);
});
