/** Errors of the SMS gateway: why a request was refused, and what went wrong behind it. */
import { answer, defineErrors, exitCodes, inside } from '../kernel/errors.ts';

export const smsErrors = defineErrors('sms', {
  BALANCE_TOO_LOW: answer(
    402,
    false,
    'The balance does not cover the message',
    (f: { cost: number; balance: number }) =>
      `the balance must cover the cost: cost=${f.cost}, balance=${f.balance}; the message was not accepted`,
  ),
  CUSTOMER_INACTIVE: answer(
    403,
    false,
    'The customer is not active',
    (f: { customer: string }) => `the customer must be active to send: found=${f.customer}`,
  ),
  CUSTOMER_BUSY: answer(
    503,
    true,
    'The customer is being changed',
    (f: { customer: string }) =>
      `the row of the customer must be free: found=${f.customer}, held by another session of the database`,
  ),
  CUSTOMER_UNKNOWN: {
    ...answer(
      404,
      false,
      'There is no such customer',
      (f: { customer: string }) => `there must be a customer of this id: found=${f.customer}`,
    ),
    exit: exitCodes.failed,
  },
  MESSAGE_UNKNOWN: answer(
    404,
    false,
    'There is no such message',
    (f: { message: string }) => `there must be a message of this id: found=${f.message}`,
  ),
  IDEMPOTENCY_IN_FLIGHT: answer(
    409,
    true,
    'A request with this idempotency key is under way',
    (f: { key: string }) => `the request that has this key must be answered first: key=${f.key}`,
  ),
  IDEMPOTENCY_MISMATCH: {
    ...answer(
      422,
      false,
      'The idempotency key stands for another request',
      (f: { key: string }) => `a key must come with the request that it came with first: key=${f.key}`,
    ),
    exit: exitCodes.failed,
  },
  NUMBER_NOT_CARRIED: answer(
    422,
    false,
    'No operator carries the number',
    (f: { to: string }) =>
      `an operator must have a prefix that the number begins with: to=${f.to}; nothing was charged`,
  ),
  AMOUNT_TOO_LARGE: {
    ...answer(
      422,
      false,
      'The balance would be too large',
      (f: { amount: number; balance: number }) =>
        `balance and reservations must be at most ${Number.MAX_SAFE_INTEGER}: amount=${f.amount}, balance=${f.balance}`,
    ),
    exit: exitCodes.failed,
  },
  DEBIT_TOO_LARGE: {
    ...answer(
      422,
      false,
      'The balance does not cover the debit',
      (f: { amount: number; balance: number }) =>
        `the balance must cover the amount: amount=${f.amount}, balance=${f.balance}; what is reserved cannot be taken`,
    ),
    exit: exitCodes.failed,
  },
  BACKLOG_FULL: answer(
    429,
    true,
    'Too many messages of the customer wait',
    (f: { limit: number; waiting: number; retryAfterS: number }) =>
      `at most ${f.limit} messages of a customer may wait: found=${f.waiting}; retry after ${f.retryAfterS} s`,
  ),
  ACCEPT_BUSY: answer(
    503,
    true,
    'Too many messages are being accepted',
    (f: { limit: number }) =>
      `at most ${f.limit} messages may wait for the database: nothing was accepted; retry later`,
  ),
  ACCEPT_UNKNOWN: answer(
    503,
    true,
    'It is not known whether the message was accepted',
    () =>
      'the database went away while it committed: the message may be accepted. Repeat it with the same idempotency ' +
      'key: then it is accepted once; without one it may be sent twice',
  ),
  TOPICS_AWAY: inside(
    true,
    'No broker of Kafka can be reached',
    (f: { reason: string }) => `the topics cannot be made now: ${f.reason}; run it again when it is back`,
    exitCodes.temporary,
  ),
  TOPICS_REFUSED: inside(false, 'Kafka refuses to make a topic', (f: { reason: string }) => f.reason, exitCodes.failed),
  REPORTS_AWAY: answer(
    503,
    true,
    'Reports cannot be read now',
    () => 'ClickHouse cannot be asked, or is too busy: nothing is lost, and messages are accepted; retry later',
  ),
  EXPORTS_BUSY: answer(
    503,
    true,
    'Too many exports run at the same time',
    (f: { reason: string }) => `there must be a place for an export: ${f.reason}; retry when one has ended`,
  ),
  ARCHIVE_DIFFERS: inside(
    true,
    'An archive is not what was archived',
    (f: { file: string; reason: string }) =>
      `the file must say what the table says; the table stays: file=${f.file}, ${f.reason}`,
  ),
});
