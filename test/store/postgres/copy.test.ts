import { describe, expect, test } from 'vitest';
import { CopyRows, copyHeader, copyTrailer } from '../../../src/store/postgres/copy.ts';

function row(...fields: readonly (string | null)[]): Buffer {
  const parts = fields.map((field) => {
    const bytes = Buffer.from(field ?? '');
    const length = Buffer.alloc(4);
    length.writeInt32BE(field === null ? -1 : bytes.length);
    return Buffer.concat([length, bytes]);
  });
  const count = Buffer.alloc(2);
  count.writeInt16BE(fields.length);
  return Buffer.concat([count, ...parts]);
}

describe('rows of a binary COPY', () => {
  const expected = [
    ['one', null, ''],
    ['é', 'x'.repeat(300), null],
    ['', '', 'last'],
  ];
  const bytes = Buffer.concat([copyHeader, ...expected.map((fields) => row(...fields)), copyTrailer]);
  const read = (chunks: readonly Buffer[]): (string | null)[][] => {
    const found: (string | null)[][] = [];
    const rows = new CopyRows((fields) => found.push(fields.map((field) => field?.toString() ?? null)));
    for (const chunk of chunks) rows.push(chunk);
    return found;
  };

  test('every split into two gives the same rows', () => {
    for (let at = 0; at <= bytes.length; at++)
      expect(read([bytes.subarray(0, at), bytes.subarray(at)]), `split at ${at}`).toEqual(expected);
  });

  test.each([1, 2, 3, 5, 7, 64])('chunks of %i bytes give the same rows', (size) => {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    );
    expect(read(chunks)).toEqual(expected);
  });

  test('a row is told as soon as it is whole', () => {
    expect(read([copyHeader, row('one', null, '')])).toEqual([['one', null, '']]);
  });

  test('what is no COPY is refused', () => {
    expect(() => read([Buffer.alloc(64)])).toThrow('header');
  });
});
