/** Outbox rows of a group: what its messages tell reports, and what workers are to send. */
import { type AcceptedRecord, type DeliveryRecord, outboxLine, type TopicName } from '../topics.ts';
import type { AcceptedMessage } from './decide.ts';

/** Records of a row at most: what a relay claims and publishes at once. */
const RECORDS_MAX = 200;

export interface OutboxRow {
  readonly topic: TopicName;
  /** Lines of outboxLine(). */
  readonly records: string;
}

export function outboxRows(messages: readonly AcceptedMessage[]): OutboxRow[] {
  const accepted: string[] = [];
  const normal: string[] = [];
  const express: string[] = [];
  for (const message of messages) {
    const { customerId } = message.wanted;
    accepted.push(outboxLine(customerId, JSON.stringify(acceptedRecord(message))));
    (message.lane === 'express' ? express : normal).push(
      outboxLine(customerId, JSON.stringify(deliveryRecord(message))),
    );
  }
  return [...rowsOf('sms.express', express), ...rowsOf('sms.delivery', normal), ...rowsOf('sms.accepted', accepted)];
}

function rowsOf(topic: TopicName, lines: readonly string[]): OutboxRow[] {
  const rows: OutboxRow[] = [];
  for (let from = 0; from < lines.length; from += RECORDS_MAX)
    rows.push({ topic, records: lines.slice(from, from + RECORDS_MAX).join('\n') });
  return rows;
}

const acceptedRecord = ({ messageId, wanted, lane, segments, cost, atMs }: AcceptedMessage): AcceptedRecord => ({
  message_id: messageId,
  customer_id: wanted.customerId,
  type: lane,
  segments,
  cost,
  at: atMs,
});

const deliveryRecord = ({ messageId, wanted, lane, segments, cost, atMs }: AcceptedMessage): DeliveryRecord => ({
  message_id: messageId,
  customer_id: wanted.customerId,
  to: wanted.to,
  sender: wanted.sender,
  text: wanted.text,
  type: lane,
  segments,
  cost,
  at: atMs,
  valid_until: atMs + 1000 * wanted.validityS,
});
