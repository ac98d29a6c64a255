/**
 * Goal: what an operator decides by command about messages that have ended keeps their money and their validity exact,
 * however often it is said.
 * Method: a real Postgres; rows as a dead worker leaves them; the audit after each test.
 */
import { beforeEach, expect, test } from 'vitest';
import { readMessage } from '../../../src/sms/accept/read.ts';
import { deadLetters } from '../../../src/sms/delivery/dead-letters.ts';
import { settleOutcomes } from '../../../src/sms/delivery/outcomes.ts';
import { resend } from '../../../src/sms/delivery/resend.ts';
import { AMOUNT_MAX, credit, debit } from '../../../src/sms/money/ledger.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { auditedTables } from '../audited-tables.ts';
import { addCustomer } from '../database.ts';
import { runTool } from '../running.ts';
import { accept, FakeOperator, FakeRouting, startDelivery, statesOf } from './fixture.ts';

let server: PostgresServer;
let link: PostgresLink;
auditedTables(26_640, (...started) => {
  [server, link] = started;
});
beforeEach(() => addCustomer(link, 'a', { balance: 10 }));

const wait = { interval: 20 };
const options = { unknown: 'refund' } as const;
/** A worker has recorded an attempt for each, and has died in it. */
const die = () => link.query(`UPDATE sms_logs SET status = 'sending', attempts = 1, operator = 'mci'`);

test('a message is valid for as long as it was at first, however often it is sent again', async () => {
  const [id] = await accept(link, [{ customer: 'a', count: 1, ageMs: 1_800_000, validMs: 900_000 }]);
  const verdict = { kind: 'failed', reason: 'x' } as const;
  const began = Date.now();
  for (const at of [began, began + 60_000, began + 7_200_000]) {
    const outcome = { messageId: id!, verdict, operator: undefined, attempt: 0, atMs: at };
    await settleOutcomes(link, [outcome], options);
    expect((await resend(link, [id!], at)).get(id!)).toBe('resent');
    const { rows } = await link.query(
      `SELECT q.valid_ms::text AS queued, (extract(epoch FROM l.valid_until) * 1000)::int8::text AS logged
         FROM sms_queue q JOIN sms_logs l USING (message_id)`,
    );
    expect(rows).toEqual([{ queued: String(at + 900_000), logged: String(at + 900_000) }]);
  }
});

test('a message whose money was captured is not sent again where the money would be more than a number holds', async () => {
  const [id] = await accept(link, [{ customer: 'a', count: 1 }]);
  await die();
  const verdict = { kind: 'unknown', reason: 'x' } as const;
  const outcome = { messageId: id!, verdict, operator: 'mci', attempt: 1, atMs: Date.now() };
  await settleOutcomes(link, [outcome], { unknown: 'capture' });
  const { rows } = await link.query<{ balance: string }>('SELECT balance FROM customers');
  const most = AMOUNT_MAX - Number(rows[0]!.balance);
  await credit(link, 'a', most, 'all that fits');
  expect((await resend(link, [id!], Date.now())).get(id!)).toBe('too_rich');
  expect(await statesOf(link)).toEqual({ unknown: 1 });
  await debit(link, 'a', 1, 'back');
  expect((await resend(link, [id!], Date.now())).get(id!)).toBe('resent');
});

// Goal: a message of an SMSC that can be asked nothing, whose answer a crash has lost, is seen, paid for by the rules, and
// settled by whoever has asked the operator; once.
// Method: attempts of a dead worker, an operator without a query; the command as an operator runs it.
test.for(['capture', 'refund'] as const)(
  'unknown with UNKNOWN=%s is seen, and settled by command',
  async (unknown, t) => {
    const [had, never, open] = await accept(link, [{ customer: 'a', count: 3 }]);
    await die();
    startDelivery(t, server.dsn, new FakeRouting(new FakeOperator('mci')), {
      ...{ UNKNOWN: unknown, UNKNOWN_HOLD_S: '1', CALL_TIMEOUT_MS: '300ms' },
    });
    await expect.poll(() => statesOf(link), wait).toEqual({ unknown: 3 });
    expect((await readMessage(link, had!, 'a')).history.at(-1)).toMatchObject({ status: 'unknown' });
    expect((await deadLetters(link, { customer: 'a', after: '', limit: 9 })).map(({ status }) => status)).toEqual(
      Array(3).fill('unknown'),
    );
    const balance = async () => (await link.query<{ n: number }>('SELECT balance::int AS n FROM customers')).rows[0]!.n;
    const before = unknown === 'capture' ? 7 : 10;
    expect(await balance()).toBe(before);

    expect((await runTool(server.dsn, 'settle', had!)).code).toBe(64);
    expect(await runTool(server.dsn, 'settle', had!, '--as=delivered')).toMatchObject({ code: 0 });
    expect(await balance(), 'as a receipt that comes late').toBe(before);
    for (const code of [0, 1])
      expect(await runTool(server.dsn, 'settle', never!, '--as=failed', '--reason=ticket 7')).toMatchObject({ code });
    expect(await balance(), 'given back, once').toBe(unknown === 'capture' ? 8 : 10);
    expect(await runTool(server.dsn, 'settle', 'x', had!, '--as=sent')).toMatchObject({ code: 1 });
    expect(await statesOf(link)).toEqual({ delivered: 1, failed: 1, unknown: 1 });
    expect(await deadLetters(link, { customer: 'a', after: '', limit: 9 })).toMatchObject(
      [
        { message_id: never, status: 'failed', reason: 'ticket 7' },
        { message_id: open, status: 'unknown' },
      ].sort((a, b) => (a.message_id! < b.message_id! ? -1 : 1)),
    );
    const { rows } = await link.query(`SELECT subject, details->>'as' AS fate FROM audit_log ORDER BY id`);
    expect(rows).toEqual([
      { subject: `message:${had}`, fate: 'delivered' },
      { subject: `message:${never}`, fate: 'failed' },
    ]);
  },
);
