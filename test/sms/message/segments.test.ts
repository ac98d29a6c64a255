/** Segments of a text: a table of cases, Twilio's calculator as oracle, and what holds of every text. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SegmentedMessage } from 'sms-segments-calculator';
import { test } from 'vitest';
import { septetsOf, septetsOfUnit } from '../../../src/sms/message/gsm7.ts';
import { limits, measure, partsOf } from '../../../src/sms/message/segments.ts';

const cases: readonly (readonly [
  name: string,
  text: string,
  alphabet: 'gsm7' | 'ucs2',
  units: number,
  segments: number,
])[] = [
  ['an empty text is one segment', '', 'gsm7', 0, 1],
  ['160 septets fit one', 'a'.repeat(160), 'gsm7', 160, 1],
  ['161 take two', 'a'.repeat(161), 'gsm7', 161, 2],
  ['306 fill two of 153', 'a'.repeat(306), 'gsm7', 306, 2],
  ['307 take three', 'a'.repeat(307), 'gsm7', 307, 3],
  ['a euro sign takes two septets', '€', 'gsm7', 2, 1],
  ['80 of them fill one', '€'.repeat(80), 'gsm7', 160, 1],
  ['81 take two', '€'.repeat(81), 'gsm7', 162, 2],
  ['153 of them take three: none is cut, so 76 go into a segment', '€'.repeat(153), 'gsm7', 306, 3],
  ['152 septets and an extension character at the border', `${'a'.repeat(152)}€${'a'.repeat(152)}`, 'gsm7', 306, 3],
  ['the whole extension table', '\f^{}\\[~]|€', 'gsm7', 20, 1],
  ['Greek capitals of the basic table', 'ΔΦΓΛΩΠΨΣΘΞ', 'gsm7', 10, 1],
  ['ç is not in it (Ç is)', 'ç', 'ucs2', 1, 1],
  ['Persian, 70 units', 'س'.repeat(70), 'ucs2', 70, 1],
  ['Persian, 71 units', 'س'.repeat(71), 'ucs2', 71, 2],
  ['134 fill two of 67', 'س'.repeat(134), 'ucs2', 134, 2],
  ['135 take three', 'س'.repeat(135), 'ucs2', 135, 3],
  ['35 emoji fill one', '😀'.repeat(35), 'ucs2', 70, 1],
  ['66 units and a pair at the border', `${'س'.repeat(66)}😀${'س'.repeat(66)}`, 'ucs2', 134, 3],
  ['a pair is not cut: 33 emoji in a segment of 67', '😀'.repeat(67), 'ucs2', 134, 3],
  ['one letter of UCS-2 changes the whole text', `${'a'.repeat(159)}س`, 'ucs2', 160, 3],
];

test.each(cases)('%s', (_, text, alphabet, units, segments) => {
  assert.deepEqual(measure(text), { alphabet, units, segments });
  assert.equal(partsOf(text).parts.length, segments);
});

const character = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...'abcXYZ 019@£$¥èéùìòÇØøÅåΔ_ΦÆæßÉ\n\r') },
  { weight: 3, arbitrary: fc.constantFrom(...'^{}\\[~]|€') },
);
const gsm = fc.array(character, { maxLength: 700 }).map((parts) => parts.join(''));
const any = fc
  .array(fc.oneof(character, fc.constantFrom('س', 'ی', '😀', '漢', 'ç')), { maxLength: 300 })
  .map((parts) => parts.join(''));

test('counts what the calculator of Twilio counts', () => {
  fc.assert(
    fc.property(fc.oneof(gsm, any), (text) => {
      const oracle = new SegmentedMessage(text);
      const { alphabet, segments } = measure(text);
      assert.equal(alphabet, oracle.encodingName === 'GSM-7' ? 'gsm7' : 'ucs2');
      assert.equal(segments, Math.max(1, oracle.segmentsCount));
    }),
    { numRuns: 500 },
  );
});

test('parts are the text, fit their segment, and cut neither a pair nor an extension character', () => {
  fc.assert(
    fc.property(fc.oneof(gsm, any), (text) => {
      const { alphabet, parts } = partsOf(text);
      assert.equal(parts.join(''), text);
      assert.equal(parts.length, measure(text).segments);
      const most = parts.length === 1 ? limits[alphabet].alone : limits[alphabet].linked;
      for (const part of parts) {
        assert.ok((alphabet === 'gsm7' ? septetsOf(part).length : part.length) <= most);
        assert.ok(part.isWellFormed());
      }
    }),
    { numRuns: 500 },
  );
});

test('septets are those of the table: ESC and its code for the extension', () => {
  assert.deepEqual([...septetsOf('@Aa€ ^\n')], [0x00, 0x41, 0x61, 0x1b, 0x65, 0x20, 0x1b, 0x14, 0x0a]);
  assert.throws(() => septetsOf('س'), TypeError);
  assert.equal(septetsOfUnit(0x1b), 0, 'ESC is no character of a text');
  assert.equal(septetsOfUnit(0), 0, 'NUL is none either');
});
