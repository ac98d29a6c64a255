import assert from 'node:assert/strict';
import fc from 'fast-check';
import metadata from 'libphonenumber-js/metadata.min';
import { test } from 'vitest';
import { isNumber, isNumberByLibrary } from '../../../src/sms/message/number.ts';

test.each([
  ['+989121234567', true],
  ['+982188776655', true],
  ['+12025550123', true],
  ['+442071838750', true],
  ['+390612345678', true],
  ['+4917612345678', true],
  ['989121234567', false],
  ['+98 912 123 4567', false],
  ['+9809121234567', false],
  ['+98912123456', false],
  ['+9891212345678', false],
  ['+10000000000', false],
  ['+999123456789', false],
  ['+', false],
  ['', false],
  // Begins like what is dialled in Brazil before the number of a carrier.
  ['+5590500000000', false],
  ['+98912123456a', false],
  ['+989121234567\n', false],
  ['+٩٨٩١٢١٢٣٤٥٦٧', false],
] as const)('%s: %s', (text, expected) => {
  assert.equal(isNumber(text), expected);
});

test('the fast path takes no number that the library refuses, of any calling code', () => {
  const codes = Object.entries(metadata.country_calling_codes as Readonly<Record<string, readonly string[]>>);
  const number = fc
    .constantFrom(...codes)
    .chain(([code, [country]]) => {
      const lengths = (metadata.countries as unknown as Readonly<Record<string, readonly unknown[]>>)[country!]![3];
      return fc
        .constantFrom(...(lengths as readonly number[]))
        .chain((length) => fc.array(fc.integer({ min: 0, max: 9 }), { minLength: length, maxLength: length }))
        .map((digits) => `+${code}${digits.join('')}`);
    })
    .filter((text) => text.length >= 9 && text.length <= 16);
  fc.assert(
    fc.property(number, (text) => {
      assert.equal(isNumber(text), isNumberByLibrary(text));
    }),
    { numRuns: 20_000 },
  );
});
