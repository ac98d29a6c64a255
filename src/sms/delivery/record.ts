/** Record: a message as sms.delivery and sms.express carry it, read for the queue. */

import { jsonLength, jsonStart } from '../../events/record.ts';
import { ulidMs } from '../message/ulid.ts';
import { isCustomerId } from '../model.ts';
import type { DeliveryRecord } from '../topics.ts';

/** What the queue keeps of a record. */
export type QueueRow = Pick<
  DeliveryRecord,
  'message_id' | 'customer_id' | 'to' | 'type' | 'segments' | 'at' | 'valid_until'
>;

/** A record that no relay has made: it becomes a dead letter of its output. */
export class BadRecord extends Error {
  override readonly name = 'BadRecord';
}

/** Throws BadRecord. */
export function readRecord(buffer: Buffer, record: number): QueueRow {
  const from = jsonStart(record);
  const text = buffer.toString('utf8', from, from + jsonLength(buffer, record));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadRecord('a message to be sent must be JSON');
  }
  const row = value as QueueRow;
  if (typeof value !== 'object' || value === null) throw new BadRecord('a message to be sent must be a JSON object');
  const { message_id, customer_id, to, type, segments, at, valid_until } = row;
  if (typeof message_id !== 'string' || ulidMs(message_id) === undefined)
    throw new BadRecord('message_id must be a ULID');
  if (typeof customer_id !== 'string' || !isCustomerId(customer_id))
    throw new BadRecord('customer_id must be 1 to 64 letters, digits, dots, dashes and underlines');
  if (typeof to !== 'string' || !/^\+[0-9]{1,15}$/.test(to)) throw new BadRecord('to must be a number like +98912...');
  if (type !== 'normal' && type !== 'express') throw new BadRecord('type must be normal or express');
  if (!Number.isInteger(segments) || segments < 1 || segments > 255)
    throw new BadRecord('segments must be a whole number from 1 to 255');
  if (!Number.isSafeInteger(at) || !Number.isSafeInteger(valid_until))
    throw new BadRecord('at and valid_until must be whole ms');
  return row;
}
