/** What a command_status of submit_sm_resp means for the message (SMPP 3.4, 5.1.3). */
import type { SendResult } from '../contract.ts';
import { Status } from './pdu.ts';

/** Who is too fast comes again after this. */
const THROTTLED_MS = 1000;

/**
 * Final: about this message, and the same at every try. Any other error may pass, or is about the bind: the message is
 * tried again within its validity.
 */
const FINAL = new Map([
  [0x01, 'the message length is invalid'],
  [0x0a, 'the source address is invalid'],
  [0x0b, 'the destination address is invalid'],
  [0x33, 'the number of destinations is invalid'],
  [0x48, 'the type of number of the source is invalid'],
  [0x49, 'the numbering plan of the source is invalid'],
  [0x50, 'the type of number of the destination is invalid'],
  [0x51, 'the numbering plan of the destination is invalid'],
  [0x62, 'the validity period is invalid'],
]);

const TEMPORARY = new Map<number, string>([
  [Status.ALREADY_BOUND, 'the bind is there already'],
  [0x08, 'the SMSC has an error'],
  [0x0d, 'the bind failed'],
  [0x0e, 'the password is wrong'],
  [0x0f, 'the system_id is wrong'],
  [Status.MESSAGE_QUEUE_FULL, 'the queue of the SMSC is full'],
  [Status.THROTTLED, 'the SMSC throttles'],
]);

const hex = (status: number): string => `0x${status.toString(16).padStart(8, '0')}`;

/** Of an answer that is not OK. */
export function refusalOf(status: number): Exclude<SendResult, { readonly kind: 'taken' | 'unknown' }> {
  const final = FINAL.get(status);
  if (final !== undefined) return { kind: 'rejected', reason: `command_status ${hex(status)}: ${final}` };
  const said = TEMPORARY.get(status);
  const reason = `command_status ${hex(status)}${said === undefined ? '' : `: ${said}`}`;
  const throttled = status === Status.THROTTLED || status === Status.MESSAGE_QUEUE_FULL;
  return { kind: 'later', reason, ...(throttled ? { away: true, afterMs: THROTTLED_MS } : {}) };
}
