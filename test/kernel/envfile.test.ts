import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { test } from 'vitest';
import { formatEnvValue, parseEnvFile } from '../../src/kernel/config.ts';

const lines: readonly (readonly [string, string | undefined])[] = [
  ['A=b', 'b'],
  ['A=', ''],
  ['  A = b  ', 'b'],
  ['export A=b', 'b'],
  ['A=b c', 'b c'],
  ['A=b # comment', 'b'],
  ['A=b#c', 'b#c'],
  ['A=# comment', ''],
  ['A==', '='],
  ['A=a=b', 'a=b'],
  ['A=$HOME $(id) `id`', '$HOME $(id) `id`'],
  ['A=it\'s "fine"', 'it\'s "fine"'],
  ["A='b # c'", 'b # c'],
  ["A='a\\nb'", 'a\\nb'],
  ["A='b' # c", 'b'],
  ['A="b # c"', 'b # c'],
  ['A="a\\n\\r\\t\\\\\\"\\$\\`b"', 'a\n\r\t\\"$`b'],
  ['A="" # empty', ''],
  ['A="ä€😀"', 'ä€😀'],
  ['A="b', undefined],
  ["A='b", undefined],
  ['A="b"c', undefined],
  ["A='b'c", undefined],
  ["A='b'#c", undefined],
  ['A="\\x41"', undefined],
  ['A="b\\"', undefined],
  ['A', undefined],
  ['=b', undefined],
  ['1A=b', undefined],
  ['A-B=c', undefined],
  ['A.B=c', undefined],
  ['A: b', undefined],
  ['set A=b', undefined],
  ['A=a\0b', undefined],
];
for (const [line, expected] of lines) {
  test(`the line ${JSON.stringify(line)} ${expected === undefined ? 'is refused' : `sets ${JSON.stringify(expected)}`}`, () => {
    const { entries, problems } = parseEnvFile(`# first\n\n${line}\n`, 'x.env');
    assert.equal(entries.get('A')?.value, expected);
    if (expected === undefined) assert.match(problems.join('\n'), /^x\.env:3: [^\n]+$/);
    else assert.deepEqual(problems, []);
  });
}

test('a byte order mark, CRLF and a missing last line break are taken, and lines are counted from 1', () => {
  const { entries, problems } = parseEnvFile('\uFEFFA=1\r\n\r\n# c\r\nB=2');
  assert.deepEqual(problems, []);
  assert.deepEqual(
    [...entries],
    [
      ['A', { value: '1', line: 1 }],
      ['B', { value: '2', line: 4 }],
    ],
  );
});

test('a name that stands twice is refused with both lines', () => {
  assert.deepEqual(parseEnvFile('A=1\nB=2\nA=1\n').problems, ['.env:3: A is given more than once: also in line 1']);
});

test('a message never shows the text of a line, which may be a secret', () => {
  const { problems } = parseEnvFile('hunter2\nA="hunter2\nB=\'hunter2\n');
  assert.equal(problems.length, 3);
  assert.doesNotMatch(problems.join('\n'), /hunter2/);
});

test('any value that is written is read back', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (value) => {
      fc.pre(!value.includes('\0'));
      const { entries, problems } = parseEnvFile(`A=${formatEnvValue(value)}\nB=2`);
      assert.deepEqual(problems, []);
      assert.equal(entries.get('A')?.value, value);
    }),
    { numRuns: 2_000 },
  );
});

// Goal: a file that we write can be sourced. Method: /bin/sh reads it; it knows no \n, so those stay out.
test('a shell reads what we write as we do', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...' $`"\'\\;&|<>(){}*?~#=!aZ0-é') }), (value) => {
      const script = `A=${formatEnvValue(value)}\nprintf %s "$A"`;
      assert.equal(execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' }), value);
    }),
    { numRuns: 50 },
  );
});
