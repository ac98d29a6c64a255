import { expect, test } from 'vitest';
import { csvLine } from '../../../src/analytics/api/csv.ts';

test('cells are quoted as RFC 4180 has it', () => {
  expect(csvLine(['a', 1.5, null, undefined, ''])).toBe('a,1.5,,,\r\n');
  expect(csvLine(['a,b', 'say "yes"', 'two\nlines', ' kept '])).toBe('"a,b","say ""yes""","two\nlines", kept \r\n');
});

// What stands in a path or in a property is somebody else's, and a spreadsheet runs what looks like a formula.
test.for(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '\n=1', '\uFF1D1', '\uFF0B1', '\uFF0D1', '\uFF20A'])(
  'a text that begins like a formula is text: %j',
  (text) => {
    const line = csvLine([text]);
    expect(line.replace(/^"/, '').startsWith(`'${text}`)).toBe(true);
  },
);

test('numbers below zero stay numbers', () => {
  expect(csvLine([-1])).toBe('-1\r\n');
});
