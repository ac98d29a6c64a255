/**
 * Test draft: a Draft that trusts nobody. Every begin() hands out memory between canaries, now and then in a new buffer, always at a
 * new offset; commit() checks that nothing was written outside of what was asked for.
 */
import assert from 'node:assert/strict';
import type { Draft } from '../../src/events/draft.ts';
import { EVENT_KIND, EVENT_VERSION, jsonLength, jsonStart } from '../../src/events/record.ts';

const CANARY = 0xa5;
const MARGIN = 64;

export class TestDraft implements Draft {
  buffer: Buffer = Buffer.alloc(0);
  /** Committed records, each a copy of [begin, end). */
  records: Buffer[] = [];
  /** The largest bytesMax of all begins since clear(). */
  askedMax = 0;
  begins = 0;
  #start = 0;
  #asked = 0;
  readonly #kind: number;
  readonly #version: number;

  /** What records it takes: events, unless told otherwise. */
  constructor(kind: number = EVENT_KIND, version: number = EVENT_VERSION) {
    this.#kind = kind;
    this.#version = version;
  }

  begin(bytesMax: number): number {
    assert.ok(Number.isInteger(bytesMax) && bytesMax > 0, `begin wants whole bytes: bytesMax=${bytesMax}`);
    this.checkCanaries();
    this.begins += 1;
    this.askedMax = Math.max(this.askedMax, bytesMax);
    const start = MARGIN + 8 * (this.begins % 7);
    if (this.buffer.length < start + bytesMax + MARGIN || this.begins % 5 === 0) {
      this.buffer = Buffer.allocUnsafeSlow(2 * (start + bytesMax + MARGIN));
    }
    this.buffer.fill(CANARY, 0, Math.min(this.buffer.length, start + bytesMax + 2 * MARGIN));
    this.#start = start;
    this.#asked = bytesMax;
    return start;
  }

  commit(end: number, kind: number, version: number): void {
    assert.equal(kind, this.#kind);
    assert.equal(version, this.#version);
    assert.ok(end <= this.#start + this.#asked, `record ends beyond what was asked: end=${end - this.#start}`);
    this.checkCanaries();
    this.records.push(Buffer.from(this.buffer.subarray(this.#start, end)));
  }

  checkCanaries(): void {
    if (this.#asked === 0) return;
    const after = this.#start + this.#asked;
    const canaries = [this.buffer.subarray(0, this.#start), this.buffer.subarray(after, after + MARGIN)];
    for (const bytes of canaries) {
      assert.ok(
        bytes.every((byte) => byte === CANARY),
        `wrote outside of the record: asked=${this.#asked}`,
      );
    }
  }

  clear(): void {
    this.records = [];
    this.askedMax = 0;
  }

  /** The lines of all records, each checked to be one line that its record describes. */
  get lines(): string[] {
    return this.records.map((record) => {
      const start = jsonStart(0);
      const length = jsonLength(record, 0);
      const keyed = this.#version !== EVENT_VERSION;
      assert.ok(keyed || record.length === start + length + 1, 'record is header, line, newline');
      assert.equal(record[start + length], 0x0a, 'the line ends with a newline');
      const line = record.toString('utf8', start, start + length);
      assert.ok(!line.includes('\n'), `one line: ${line}`);
      assert.ok(Buffer.from(line).equals(record.subarray(start, start + length)), 'the line is UTF-8');
      return line;
    });
  }
}
