import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'vitest';
import { audit, LedgerClient } from '../../native-bench/rig/ledger.ts';

// Goal: the audit finds what a server lost, doubled or invented, and nothing where there is nothing to find.
// Method: a server that files every event honestly and refuses some; then the file is spoilt by hand.
test('the audit finds exactly what is lost, doubled and invented', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'ledger-'));
  const file = join(dir, 'events.ndjson');
  let asked = 0;
  const server = createServer((req, res) => {
    asked += 1;
    if (asked % 50 === 0) {
      res.writeHead(429).end();
      return;
    }
    const id = new URL(req.url!, 'http://x').searchParams.get('event_id');
    appendFileSync(file, `${JSON.stringify({ event_id: id })}\n`);
    res.end('gif');
  }).listen(0, '127.0.0.1');
  t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
    rmSync(dir, { recursive: true });
  });
  await new Promise((resolve) => server.once('listening', resolve));
  const client = new LedgerClient((server.address() as AddressInfo).port, 4);
  while (client.stored < 200) await sleep(5);
  const told = await client.end();
  assert.deepEqual(await audit(told, [file]), { lost: 0, doubled: 0, invented: 0 });
  assert.ok(told.refused >= 3);
  assert.equal(told.sent.size, told.stored.size + told.refused + told.unknown, 'every request has an outcome');

  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  writeFileSync(file, `${[...lines.slice(3), lines[5], '{"event_id":"stranger"}', '{"event_'].join('\n')}\n`);
  assert.deepEqual(await audit(told, [file]), { lost: 3, doubled: 1, invented: 2 });
});
