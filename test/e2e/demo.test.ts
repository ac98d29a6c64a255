import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { test } from 'vitest';

test('npm run demo:full shows the same events in file, topic and table', { timeout: 180_000 }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['test/demo-full.ts'], { timeout: 170_000 });
  assert.equal(stdout.match(/^[0-9a-f-]{36} {2}yes +yes +yes$/gm)?.length, 5, stdout);
});
