/** putRecord: what it makes of a line is what an encoder makes of the same event. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import * as record from '../../src/events/record.ts';

const id = '01890000-0000-7000-8000-00000000abcd';
const tsMs = Date.UTC(2026, 10, 21, 8, 0, 0, 123);
const lineOf = (event: object): Buffer =>
  Buffer.from(JSON.stringify({ event_id: id, ts: new Date(tsMs).toISOString(), ...event }));

test('the fields of a made record say what its line says, whatever the texts hold', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(text, fc.option(text, { nil: undefined }), fc.string(), (e, uid, props) => {
      const line = lineOf({ e, ...(uid === undefined ? {} : { uid }), props: { uid: props, e: props } });
      // Foreign bytes all around: nothing of what lay there may stay in the record, nothing beside it may change.
      const bytes = record.recordBytes(line.length);
      const buffer = Buffer.alloc(bytes + 16, 0xa5);
      expect(record.putRecord(buffer, 8, line, 42.5)).toBe(8 + bytes);
      expect(buffer.readUInt32LE(8 + record.at.length)).toBe(record.at.json + line.length + 1);
      expect(buffer.readUInt16LE(8 + record.at.kind)).toBe(record.EVENT_KIND);
      expect(buffer.readUInt16LE(8 + record.at.version)).toBe(record.EVENT_VERSION);
      expect(record.sourceAt(buffer, 8)).toBe(0);
      expect(record.receivedMsAt(buffer, 8)).toBe(42.5);
      expect(record.tsMsAt(buffer, 8)).toBe(tsMs);
      expect(record.eventIdAt(buffer, 8).toString('hex')).toBe(id.replaceAll('-', ''));
      expect(record.eventIdTextAt(buffer, 8).toString()).toBe(id);
      expect(record.eventType(buffer, 8)).toBe(e);
      expect(record.uidOf(buffer, 8)).toBe(uid);
      expect(record.traceOf(buffer, 8)).toBeUndefined();
      const start = record.jsonStart(8);
      expect(buffer.subarray(start, start + record.jsonLength(buffer, 8)).equals(line)).toBe(true);
      expect(buffer[start + line.length]).toBe(0x0a);
      expect([...buffer.subarray(start + line.length + 1, 8 + bytes)].every((byte) => byte === 0)).toBe(true);
      expect([...buffer.subarray(0, 8), ...buffer.subarray(8 + bytes)].every((byte) => byte === 0xa5)).toBe(true);
    }),
  );
});

test.each([
  ['no object', 'x'],
  ['torn in its name', `{"event_id":"${id}","ts":"2026-11-21T08:00:00.123Z","e":"vie`],
  ['torn behind a backslash', `{"event_id":"${id}","ts":"2026-11-21T08:00:00.123Z","e":"vie\\`],
  ['another order of keys', `{"ts":"2026-11-21T08:00:00.123Z","event_id":"${id}","e":"view"}`],
  ['an id in upper case', `{"event_id":"${id.toUpperCase()}","ts":"2026-11-21T08:00:00.123Z","e":"view"}`],
  ['no instant', `{"event_id":"${id}","ts":"soon","e":"view"}`],
])('a line that no encoder has made is refused: %s', (_, text) => {
  const line = Buffer.from(text);
  expect(record.isEventLine(line)).toBe(false);
  expect(() => record.putRecord(Buffer.alloc(1024), 0, line, 0)).toThrow(TypeError);
});

test('packed records lie one behind the other, aligned', () => {
  const lines = ['a', 'bcdefgh', 'ä'].map((e) => ({ line: lineOf({ e }), receivedMs: 1 }));
  const { buffer, offsets } = record.packRecords(lines);
  expect([...offsets].map((offset) => record.eventType(buffer, offset))).toEqual(['a', 'bcdefgh', 'ä']);
  expect([...offsets].every((offset) => offset % 8 === 0)).toBe(true);
  expect(buffer.length).toBe(lines.reduce((sum, { line }) => sum + record.recordBytes(line.length), 0));
});
