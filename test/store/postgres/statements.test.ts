import { expect, test } from 'vitest';
import { lineAt, splitStatements } from '../../../src/store/postgres/statements.ts';

const cases: readonly (readonly [what: string, sql: string, statements: readonly string[]])[] = [
  ['nothing', '', []],
  ['blanks, semicolons and comments alone', ' ;;\n-- only; a comment\n/* and; one */ ;', []],
  ['one without its semicolon', 'SELECT 1', ['SELECT 1']],
  ['two', 'SELECT 1;\nSELECT 2;\n', ['SELECT 1', 'SELECT 2']],
  ['a text', "SELECT 'a;b', 'it''s;'; SELECT 2", ["SELECT 'a;b', 'it''s;'", 'SELECT 2']],
  [
    'a backslash in a plain text is no escape',
    String.raw`SELECT 'a\'; SELECT 2`,
    [String.raw`SELECT 'a\'`, 'SELECT 2'],
  ],
  [
    'a text with escapes',
    String.raw`SELECT E'a\';b', e'\\'; SELECT 2`,
    [String.raw`SELECT E'a\';b', e'\\'`, 'SELECT 2'],
  ],
  [
    'a name that ends with e before a text',
    "SELECT 1 AS e,date'2026-01-01'; SELECT 2",
    ["SELECT 1 AS e,date'2026-01-01'", 'SELECT 2'],
  ],
  ['a name', 'SELECT ";""" FROM "a;b"; SELECT 2', ['SELECT ";""" FROM "a;b"', 'SELECT 2']],
  [
    'dollars',
    'DO $$ BEGIN; END $$; SELECT $a$ ; $$ ; $a$; SELECT 3',
    ['DO $$ BEGIN; END $$', 'SELECT $a$ ; $$ ; $a$', 'SELECT 3'],
  ],
  [
    'dollars that are no quote',
    'PREPARE p AS SELECT $1 + a$b$c; SELECT 2',
    ['PREPARE p AS SELECT $1 + a$b$c', 'SELECT 2'],
  ],
  [
    'comments',
    "SELECT 1 -- it's; one\n, 2 /* ; /* nested; */ ' */; SELECT 3",
    ["SELECT 1 -- it's; one\n, 2 /* ; /* nested; */ ' */", 'SELECT 3'],
  ],
  ['a comment before a statement', '-- first\nSELECT 1; /* then */ SELECT 2', ['SELECT 1', 'SELECT 2']],
  ['quotes without an end', "SELECT 1; SELECT 'a; b", ['SELECT 1', "SELECT 'a; b"]],
];

test.each(cases)('%s', (_, sql, statements) => {
  const found = splitStatements(sql);
  expect(found.map((statement) => statement.sql)).toEqual(statements);
  for (const { sql: text, offset } of found) expect(sql.slice(offset, offset + text.length)).toBe(text);
});

test('a line is found by a position in characters', () => {
  const text = 'SELECT 1;\n-- 😀😀\nSELECT x;\n';
  expect(lineAt(text, 1)).toEqual({ line: 1, text: 'SELECT 1;' });
  expect(lineAt(text, [...text].indexOf('x') + 1)).toEqual({ line: 3, text: 'SELECT x;' });
  expect(lineAt(text, 1000)).toEqual({ line: 4, text: '' });
});
