import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'vitest';
import { renewed } from './docs.ts';

for (const [file, text] of Object.entries(renewed())) {
  test(`${file} says what the code declares (renew with: node test/docs.ts)`, () => {
    assert.equal(readFileSync(file, 'utf8'), text);
  });
}

test('every file that README.md names is there', () => {
  const readme = readFileSync('README.md', 'utf8');
  const named = [...readme.matchAll(/\b(src\/[\w./-]+|deploy\/[\w./-]*|PERFORMANCE\.md)/g)].map((match) =>
    match[1]!.replace(/\.$/, ''),
  );
  for (const known of ['src/README.md', 'deploy/', 'PERFORMANCE.md']) assert.ok(named.includes(known), known);
  assert.deepEqual(
    named.filter((path) => !existsSync(path)),
    [],
  );
});
