/** Reads the body of POST /v1/receipts/:operator: a receipt, or a list of them. */
import { parseTimestamp } from '../../kernel/timestamp.ts';
import { serviceErrors } from '../../service/errors.ts';
import type { Receipt } from '../operators/contract.ts';

export const RECEIPTS_MAX = 1000;
const REASON_LENGTH_MAX = 200;
const FOUND_MAX = 80;
const statuses: readonly unknown[] = ['sent', 'delivered', 'failed'] satisfies readonly Receipt['status'][];
const members: readonly string[] = ['message_id', 'id', 'status', 'at', 'reason'];
const CONTROL = /[\u0000-\u001f\u007f]+/g;

type Given = Readonly<Record<string, unknown>>;

/** Throws INPUT_REFUSED with the first receipt that is none. Nothing of a list with one is recorded. */
export function readReceipts(body: unknown, operator: string, nowMs: number): readonly Receipt[] {
  const items: readonly unknown[] = Array.isArray(body) ? body : [body];
  if (items.length === 0 || items.length > RECEIPTS_MAX)
    throw refused(`a list must have 1 to ${RECEIPTS_MAX} receipts: found=${items.length}`);
  return items.map((item, at) => {
    const which = Array.isArray(body) ? `receipt ${at}: ` : '';
    if (typeof item !== 'object' || item === null || Array.isArray(item))
      throw refused(`${which}a receipt must be an object with message_id and status`);
    return readReceipt(item as Given, which, operator, nowMs);
  });
}

function readReceipt(given: Given, which: string, operator: string, nowMs: number): Receipt {
  const { message_id: messageId, id = null, status, at = null, reason = null } = given;
  const must = (member: string, rule: string, found: unknown) =>
    refused(`${which}${member} must be ${rule}: found=${short(found)}`);
  const strange = Object.keys(given).find((member) => !members.includes(member));
  if (strange !== undefined)
    throw refused(`${which}a member must be one of ${members.join(', ')}: found=${short(strange)}`);
  if (typeof messageId !== 'string' || !/^[0-9A-Za-z]{1,64}$/.test(messageId))
    throw must('message_id', 'the id under which the message was sent', messageId);
  const operatorId = typeof id === 'number' && Number.isSafeInteger(id) ? String(id) : id;
  if (operatorId !== null && (typeof operatorId !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(operatorId)))
    throw must('id', "the operator's id, of 1 to 128 printable ASCII characters", id);
  if (!statuses.includes(status)) throw must('status', `one of ${statuses.join(', ')}`, status);
  if (reason !== null && typeof reason !== 'string') throw must('reason', 'a text', reason);
  return {
    messageId,
    operatorId,
    operator,
    status: status as Receipt['status'],
    reason: reason === null ? null : reason.slice(0, REASON_LENGTH_MAX).replaceAll(CONTROL, ' '),
    // An operator whose clock is ahead, or that takes its own time for UTC: nothing has happened later than now.
    atMs: at === null ? nowMs : Math.min(nowMs, timeOf(at) ?? fail(must('at', 'a time like 2027-01-31T00:00:00Z', at))),
  };
}

function timeOf(at: unknown): number | undefined {
  const bytes = Buffer.from(typeof at === 'string' ? at : '');
  const ms = parseTimestamp(bytes, 0, bytes.length);
  return Number.isNaN(ms) ? undefined : ms;
}

const refused = (reason: string) => serviceErrors.INPUT_REFUSED({ reason });
const fail = (error: Error): never => {
  throw error;
};
const short = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, FOUND_MAX);
