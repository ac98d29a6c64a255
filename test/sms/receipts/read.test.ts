import assert from 'node:assert/strict';
import { test } from 'vitest';
import { readReceipts } from '../../../src/sms/receipts/read.ts';

const NOW = Date.UTC(2027, 1, 1);
const good = { message_id: '01JZABC', status: 'delivered' };
const read = (body: unknown) => readReceipts(body, 'mci', NOW);

test('a receipt, or a list of them, with what an operator may leave out', () => {
  const base = {
    messageId: '01JZABC',
    operatorId: null,
    operator: 'mci',
    status: 'delivered',
    reason: null,
    atMs: NOW,
  };
  assert.deepEqual(read(good), [base]);
  assert.deepEqual(read({ ...good, id: null, at: null, reason: null }), [base]);
  assert.deepEqual(
    read([
      { ...good, id: 17, at: '2027-01-31T03:30:00.25+03:30' },
      { ...good, id: 'op-1' },
    ]),
    [
      { ...base, operatorId: '17', atMs: Date.UTC(2027, 0, 31, 0, 0, 0, 250) },
      { ...base, operatorId: 'op-1' },
    ],
  );
  // Whose clock is ahead.
  assert.deepEqual(read({ ...good, at: '2027-02-01T03:30:00Z' }), [base]);
  assert.equal(read({ ...good, status: 'failed', reason: `a\u0000\nb${'c'.repeat(500)}` })[0]!.reason!.length, 199);
});

test.for([
  [[], 'a list must have 1 to 1000 receipts: found=0'],
  [new Array(1001).fill(good), 'a list must have 1 to 1000 receipts: found=1001'],
  [7, 'a receipt must be an object with message_id and status'],
  [[good, [good]], 'receipt 1: a receipt must be an object with message_id and status'],
  [{ status: 'sent' }, 'message_id must be the id under which the message was sent: found=undefined'],
  [{ ...good, message_id: 'a\u0000b' }, 'message_id must be the id under which the message was sent'],
  [{ ...good, id: 'a\u0000b' }, "id must be the operator's id, of 1 to 128 printable ASCII characters"],
  [{ ...good, id: 1.5 }, "id must be the operator's id"],
  [{ ...good, status: 'DELIVRD' }, 'status must be one of sent, delivered, failed: found="DELIVRD"'],
  [[good, { ...good, at: 'yesterday' }], 'receipt 1: at must be a time like 2027-01-31T00:00:00Z: found="yesterday"'],
  [{ ...good, reason: 5 }, 'reason must be a text: found=5'],
  [{ ...good, ID: 'x' }, 'a member must be one of message_id, id, status, at, reason: found="ID"'],
] as const)('a receipt that is none is refused: %j', ([body, because]) => {
  assert.throws(
    () => read(body),
    (error: { code: string; message: string }) => {
      assert.equal(error.code, 'INPUT_REFUSED');
      assert.ok(error.message.startsWith(because), error.message);
      return true;
    },
  );
});
