/** `ringmain sms audit`, as an operator runs it, and the jobs of role api. */
import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { readFinding } from '../../../src/sms/findings.ts';
import jobs from '../../../src/sms/money/jobs.ts';
import { addCustomer, openLink, startDatabase } from '../database.ts';
import { runTool } from '../running.ts';

const run = (dsn: string, ...words: string[]) => runTool(dsn, 'audit', ...words);

test('audit ends with 0 when all is in order, with 1 and the customers when not, with 75 without a database', async (t) => {
  const server = await startDatabase(t, 26_540);
  const link = await openLink(server.dsn);
  t.onTestFinished(() => link.close());
  await addCustomer(link, 'ada', { balance: 10 });
  await addCustomer(link, 'bob', { balance: 20 });
  const good = await run(server.dsn);
  assert.equal(good.code, 0, good.err);
  assert.match(good.err, /in order: 2 customers, 2 transfers/);
  assert.equal(good.out, '');

  await link.query("UPDATE customers SET balance = 25 WHERE customer_id = 'bob'");
  const bad = await run(server.dsn);
  assert.equal(bad.code, 1);
  assert.match(bad.out, /bob +available +25 +20 +5/);
  assert.doesNotMatch(bad.out, /ada/);
  const json = JSON.parse((await run(server.dsn, '--json')).out);
  expect(json.differences).toEqual([
    { customer: 'bob', check: 'available', stored: '25', proven: '20', difference: '5' },
  ]);

  const told: object[] = [];
  const log = { info: () => undefined, error: (fields: object) => void told.push(fields) };
  const frame = {
    values: { postgres: { pgDsn: server.dsn }, accept: { idempotencyTtlH: 1 } },
    log,
    signal: new AbortController().signal,
  };
  await link.query("INSERT INTO idempotency_keys SELECT 'ada', 'k', '\\x00', 'm', 1, 1, 1, now() - interval '2 hours'");
  for (const job of jobs()) await job.run(frame as never);
  assert.equal(await readFinding(link, 'audit_differences'), 1);
  expect(told).toEqual([{ customer: 'bob', check: 'available', stored: '25', proven: '20', difference: '5' }]);
  assert.equal((await link.query('SELECT count(*)::int AS n FROM idempotency_keys')).rows[0]!['n'], 0);

  // Mended: what the command finds is what all processes show.
  await link.query("UPDATE customers SET balance = 20 WHERE customer_id = 'bob'");
  assert.equal((await run(server.dsn)).code, 0);
  assert.equal(await readFinding(link, 'audit_differences'), 0);

  assert.equal((await run('postgres://postgres:x@127.0.0.1:26549/postgres')).code, 75);
});
