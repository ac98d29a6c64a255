/** `ringmain sms resend`, as an operator runs it. */
import { expect, test } from 'vitest';
import { settleOutcomes } from '../../../src/sms/delivery/outcomes.ts';
import { audit } from '../../../src/sms/money/audit.ts';
import { addCustomer, openLink, startDatabase } from '../database.ts';
import { runTool } from '../running.ts';
import { accept, queueRows, statesOf } from './fixture.ts';

test('failed messages of a customer wait again as far as its balance goes; what cannot is named', async (t) => {
  const server = await startDatabase(t, 26_560);
  const link = await openLink(server.dsn);
  t.onTestFinished(() => link.close());
  await addCustomer(link, 'acme', { balance: 4 });
  const ids = await accept(link, [{ customer: 'acme', count: 3 }]);
  const failed = { kind: 'failed', reason: 'no operator took it' } as const;
  await settleOutcomes(
    link,
    ids.map((messageId) => ({ messageId, verdict: failed, operator: undefined, attempt: 0, atMs: Date.now() })),
    { unknown: 'capture' },
  );
  const list = await runTool(server.dsn, 'resend', '--list', '--customer=acme', `--after=${ids[0]}`);
  expect(list).toMatchObject({ code: 0 });
  expect(
    list.out
      .split('\n')
      .slice(1, 3)
      .map((line) => line.split(/ {2,}/).toSpliced(5, 1)),
  ).toEqual(ids.slice(1).map((id) => [id, 'acme', 'failed', '-', '0', 'no operator took it']));
  expect((await runTool(server.dsn, 'resend', '--list', '--customer=other')).err).toContain('no messages');
  expect((await runTool(server.dsn, 'resend', '--list', '--failed', '--customer=acme')).code).toBe(64);

  // Of the refund and the rest, two are left.
  await accept(link, [{ customer: 'acme', count: 2 }]);
  expect(await statesOf(link)).toEqual({ accepted: 2, failed: 3 });

  const some = await runTool(server.dsn, 'resend', '--failed', '--customer=acme');
  expect(some).toMatchObject({ code: 1 });
  expect(some.err).toContain(`${ids[2]}: the balance does not cover it`);
  expect(some.err).toContain('2 messages wait to be sent again');
  expect(await statesOf(link)).toEqual({ accepted: 4, failed: 1 });
  expect((await audit(link)).differences).toEqual([]);

  await runTool(server.dsn, 'customer', 'credit', 'acme', '1', '--key=more');
  const named = await runTool(server.dsn, 'resend', ids[2]!, ids[0]!);
  expect(named).toMatchObject({ code: 1 });
  expect(named.err).toContain(`${ids[0]}: it is no message that has failed or is unknown`);
  expect(await statesOf(link)).toEqual({ accepted: 5 });
  expect(await queueRows(link)).toBe(5);
  expect((await audit(link)).differences).toEqual([]);

  expect((await runTool(server.dsn, 'resend', '--failed')).code).toBe(64);
  expect((await runTool(server.dsn, 'resend')).code).toBe(64);
});
