/**
 * Goal: a statement with large parameters is sent as the driver would send it, byte by byte, and its parameters are not
 * copied.
 * Method: the driver's own message beside ours.
 */
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { type BindConfig, bindPieces } from '../../../src/store/postgres/bind.ts';

const load = createRequire(createRequire(import.meta.url).resolve('pg'));
const { serialize } = load('pg-protocol') as { serialize: { bind(config: BindConfig): Buffer } };
const { prepareValue } = load('./utils') as { prepareValue: NonNullable<BindConfig['valueMapper']> };

const large = Buffer.alloc(40_000, 'x');

test.each<[string, readonly unknown[]]>([
  ['one', [large]],
  ['with texts, numbers and nothing', ['é', large, null, 17, undefined, true, 'last']],
  ['many', Array.from({ length: 15 }, (_, i) => large.subarray(i))],
  ['empty ones', [Buffer.alloc(0), '', large]],
])('the message is that of the driver: %s', (_, values) => {
  for (const more of [{}, { statement: 'name', portal: 'p', binary: true }]) {
    const config = { values, valueMapper: prepareValue, ...more };
    const pieces = bindPieces(config)!;
    expect(Buffer.concat(pieces).equals(serialize.bind(config))).toBe(true);
    for (const value of values) if (Buffer.isBuffer(value)) expect(pieces).toContain(value);
  }
});

test('small parameters, and none, are left to the driver', () => {
  expect(bindPieces({ values: [Buffer.alloc(100), 'x'.repeat(100_000)] })).toBeUndefined();
  expect(bindPieces({})).toBeUndefined();
});
