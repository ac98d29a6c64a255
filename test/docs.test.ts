import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { renewed } from './docs.ts';

for (const [file, text] of Object.entries(renewed())) {
  test(`${file} says what the code declares (renew with: node test/docs.ts)`, () => {
    assert.equal(readFileSync(file, 'utf8'), text);
  });
}
