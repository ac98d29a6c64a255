/** Options of accepting messages (accept/). */
import { type ConfigOf, defineConfig, integer, oneOf } from '../../kernel/config.ts';

export const acceptConfig = defineConfig('accept', {
  costPer: oneOf(['message', 'segment'], {
    default: 'message',
    doc: 'What a price is for: a message, however long, or each of its segments.',
  }),
  maxMessageLength: integer({
    yaml: 'sms.max_message_length',
    default: 1600,
    min: 1,
    max: 10_000,
    doc: 'Longest text of a message, in UTF-16 units. Longer ones are refused with 400.',
  }),
  validityS: integer({
    default: 172_800,
    min: 60,
    max: 604_800,
    doc: 'Seconds after which a message that does not say its own validity_s is not sent any more, and refunded.',
  }),
  groupMs: integer({
    default: 2,
    min: 0,
    max: 1000,
    doc:
      'Longest time that a request waits for others to share its transaction. While a transaction is under way the ' +
      'next one gathers all the same.',
  }),
  groupMessages: integer({
    default: 1000,
    min: 1,
    max: 20_000,
    doc: 'Messages of one transaction at most; a batch is never parted.',
  }),
  acceptSessions: integer({
    default: 1,
    min: 1,
    max: 16,
    doc:
      'Sessions of the database on which each acceptor accepts messages. Groups grow while one works, so one carries ' +
      'what an acceptor can take; more help where the database has cores to spare and commits slowly. Groups of one ' +
      'customer come one after the other all the same.',
  }),
  acceptQueue: integer({
    default: 20_000,
    min: 1000,
    max: 1_000_000,
    doc:
      'Messages that may wait for their transaction, in each acceptor. Beyond it sends are answered 503. A customer ' +
      'takes at most as many places as are free: half of them when it is alone.',
  }),
  idempotencyTtlH: integer({
    default: 24,
    min: 1,
    max: 720,
    doc: 'Hours for which an idempotency key of a message is kept at least.',
  }),
});
export type AcceptConfig = ConfigOf<typeof acceptConfig>;
