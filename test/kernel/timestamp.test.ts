import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'vitest';
import { ISO_BYTES, ISO_MS_MAX, ISO_MS_MIN, parseTimestamp, TimestampWriter } from '../../src/kernel/timestamp.ts';

const anyMs = fc.oneof(
  fc.integer({ min: ISO_MS_MIN, max: ISO_MS_MAX }),
  fc.integer({ min: 1_700_000_000_000, max: 1_900_000_000_000 }),
);

function parse(text: string): number {
  // Neighbours that would be taken for a part of the text if its bounds were not kept.
  const bytes = Buffer.from(`99${text}99`);
  return parseTimestamp(bytes, 2, bytes.length - 2);
}

test('an instant is written as Date writes it, whatever was written before', () => {
  const writer = new TimestampWriter();
  const target = Buffer.alloc(40);
  fc.assert(
    fc.property(anyMs, fc.array(fc.integer({ min: -90_000, max: 90_000 }), { maxLength: 20 }), (start, steps) => {
      let ms = start;
      for (const step of [0, ...steps]) {
        ms = Math.min(ISO_MS_MAX, Math.max(ISO_MS_MIN, ms + step));
        target.fill(0xaa);
        writer.write(target, 3, ms);
        assert.equal(target.toString('latin1', 3, 3 + ISO_BYTES), new Date(ms).toISOString());
        assert.ok(target[2] === 0xaa && target[3 + ISO_BYTES] === 0xaa, 'wrote beside its 24 bytes');
      }
    }),
    { numRuns: 500 },
  );
});

test('the last ms of a minute, an hour, a day and a year and the one behind it are written right', () => {
  const target = Buffer.alloc(24);
  for (const end of [
    '2026-11-21T08:00:59.999Z',
    '2026-11-21T08:59:59.999Z',
    '2024-02-28T23:59:59.999Z',
    '1969-12-31T23:59:59.999Z',
  ]) {
    const writer = new TimestampWriter();
    for (const ms of [-1, 0, 1, 0, -1].map((step) => Date.parse(end) + step)) {
      writer.write(target, 0, ms);
      assert.equal(target.toString('latin1'), new Date(ms).toISOString());
    }
  }
});

test('an instant that has no such text is a RangeError', () => {
  const writer = new TimestampWriter();
  for (const ms of [ISO_MS_MIN - 1, ISO_MS_MAX + 1, Number.NaN, Infinity]) {
    assert.throws(() => writer.write(Buffer.alloc(24), 0, ms), RangeError);
  }
});

test('a written instant is read back', () => {
  const writer = new TimestampWriter();
  const text = Buffer.alloc(24);
  fc.assert(
    fc.property(anyMs, (ms) => {
      writer.write(text, 0, ms);
      assert.equal(parseTimestamp(text, 0, 24), ms);
    }),
  );
});

test('any offset and any length of fraction give the instant that Date gives', () => {
  const offset = fc.record({ sign: fc.constantFrom('+', '-'), hours: fc.nat(23), minutes: fc.nat(59) });
  const pad = (value: number) => String(value).padStart(2, '0');
  fc.assert(
    fc.property(
      anyMs,
      fc.option(offset),
      fc.string({ unit: fc.constantFrom(...'0123456789'), maxLength: 12 }),
      (ms, at, more) => {
        const shift = at ? (at.hours * 60 + at.minutes) * 60_000 * (at.sign === '+' ? 1 : -1) : 0;
        const local = ms + shift;
        fc.pre(local >= ISO_MS_MIN && local <= ISO_MS_MAX);
        const zone = at ? `${at.sign}${pad(at.hours)}:${pad(at.minutes)}` : 'Z';
        const text = `${new Date(local).toISOString().slice(0, -1)}${more}${zone}`;
        assert.equal(parse(text), ms, text);
        const lower = text.replace('T', 't').replace('Z', 'z');
        assert.equal(parse(lower), ms, lower);
      },
    ),
    { numRuns: 1_000 },
  );
});

const cases: readonly (readonly [string, string | undefined])[] = [
  ['2026-11-21T08:00:00Z', '2026-11-21T08:00:00.000Z'],
  ['2026-11-21T08:00:00.1Z', '2026-11-21T08:00:00.100Z'],
  ['2026-11-21T08:00:00.12Z', '2026-11-21T08:00:00.120Z'],
  ['2026-11-21T08:00:00.9999999999999999999Z', '2026-11-21T08:00:00.999Z'],
  ['2026-11-21T08:00:00-00:00', '2026-11-21T08:00:00.000Z'],
  ['2026-11-21T08:00:00+05:45', '2026-11-21T02:15:00.000Z'],
  ['2024-02-29T12:00:00Z', '2024-02-29T12:00:00.000Z'],
  ['2000-02-29T12:00:00Z', '2000-02-29T12:00:00.000Z'],
  ['0000-01-01T00:00:00Z', '0000-01-01T00:00:00.000Z'],
  ['2016-12-31T23:59:60Z', '2016-12-31T23:59:59.999Z'],
  ['2016-12-31T15:59:60.5-08:00', '2016-12-31T23:59:59.999Z'],
  ['2017-01-01T08:59:60+09:00', '2016-12-31T23:59:59.999Z'],
  ['2016-12-30T23:59:60Z', undefined],
  ['2016-12-31T23:58:60Z', undefined],
  ['2016-12-31T12:59:60Z', undefined],
  ['2016-12-31T23:59:61Z', undefined],
  ['2023-02-29T12:00:00Z', undefined],
  ['1900-02-29T12:00:00Z', undefined],
  ['2026-04-31T12:00:00Z', undefined],
  ['2026-00-10T12:00:00Z', undefined],
  ['2026-13-10T12:00:00Z', undefined],
  ['2026-11-00T12:00:00Z', undefined],
  ['2026-11-21T24:00:00Z', undefined],
  ['2026-11-21T08:60:00Z', undefined],
  ['2026-11-21T08:00:00', undefined],
  ['2026-11-21T08:00:00.Z', undefined],
  ['2026-11-21T08:00Z', undefined],
  ['2026-11-21 08:00:00Z', undefined],
  ['2026-11-21', undefined],
  ['20261121T080000Z', undefined],
  ['2026-11-21T08:00:00+0100', undefined],
  ['2026-11-21T08:00:00+01', undefined],
  ['2026-11-21T08:00:00+24:00', undefined],
  ['2026-11-21T08:00:00+01:60', undefined],
  ['2026-11-21T08:00:00ZZ', undefined],
  ['2026-11-21T08:00:00+01:00Z', undefined],
  ['2026-11-21T08:00:00+01:000', undefined],
  ['2026-11-21T08:00:00Z ', undefined],
  [' 2026-11-21T08:00:00Z', undefined],
  ['+002026-11-21T08:00:00Z', undefined],
  ['-0001-11-21T08:00:00Z', undefined],
  ['2026-11-21T08:00:00,5Z', undefined],
  ['2026-1a-21T08:00:00Z', undefined],
  ['0000-01-01T00:00:00+00:01', undefined],
  ['9999-12-31T23:59:59-00:01', undefined],
  ['1795248000000', undefined],
  ['', undefined],
];
for (const [text, expected] of cases) {
  test(`reading ${JSON.stringify(text)} gives ${expected ?? 'nothing'}`, () => {
    const ms = parse(text);
    assert.equal(Number.isNaN(ms) ? undefined : new Date(ms).toISOString(), expected);
  });
}

// Goal: nothing beside the grammar gets in. Method: one byte of a good text is replaced; the grammar as a regular expression and
// Date (which knows no leap second and no 24:00 here) decide.
test('a text with one byte changed is taken exactly when it still is RFC 3339', () => {
  const grammar = /^\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$/;
  const good = ['2026-11-21T08:00:00.123Z', '2024-02-29T23:59:59+01:00', '1999-12-31T00:00:00.5-11:30'];
  fc.assert(
    fc.property(fc.constantFrom(...good), fc.nat(30), fc.nat(127), (text, at, byte) => {
      const bytes = Buffer.from(text);
      bytes[at % bytes.length] = byte;
      const changed = bytes.toString('latin1');
      const date = new Date(`${changed.slice(0, 10)}T00:00:00Z`);
      const real = !Number.isNaN(date.getTime()) && date.toISOString().slice(0, 10) === changed.slice(0, 10);
      const second60 = /:60/.test(changed);
      fc.pre(!second60);
      assert.equal(!Number.isNaN(parseTimestamp(bytes, 0, bytes.length)), grammar.test(changed) && real, changed);
    }),
    { numRuns: 5_000 },
  );
});
