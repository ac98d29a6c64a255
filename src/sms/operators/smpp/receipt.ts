/**
 * Receipts as SMSCs send them in deliver_sm: by TLVs (receipted_message_id, message_state), by the text of appendix B,
 * or by both; TLVs win.
 *
 *   id:0123456789 sub:001 dlvrd:001 submit date:2611291130 done date:2611291131 stat:DELIVRD err:000 text:...
 */
import { type DeliverSm, ESM_RECEIPT, ESM_TYPE_MASK, Tag } from './pdu.ts';

export interface SmscReceipt {
  /** The SMSC's id of the message; '': the receipt has none. */
  readonly id: string;
  /** Undefined: the SMSC says that it does not know. */
  readonly status: 'sent' | 'delivered' | 'failed' | undefined;
  /** For people: 'UNDELIV, err 004'. Null: there is nothing to say. */
  readonly reason: string | null;
  /** user_message_reference of the submit_sm, where the SMSC gives it back. */
  readonly reference: number | undefined;
}

/** message_state (5.2.28) as the words of appendix B. */
const STATES = ['', 'ENROUTE', 'DELIVRD', 'EXPIRED', 'DELETED', 'UNDELIV', 'ACCEPTD', 'UNKNOWN', 'REJECTD'] as const;
const FAILED = new Set(['EXPIRED', 'DELETED', 'UNDELIV', 'REJECTD']);
const SENT = new Set(['ENROUTE', 'ACCEPTD']);

export const isReceipt = ({ esmClass }: DeliverSm): boolean => (esmClass & ESM_TYPE_MASK) === ESM_RECEIPT;

export function readReceipt({ message, tlvs }: DeliverSm): SmscReceipt {
  const text = message.toString('latin1');
  const state = tlvs.get(Tag.MESSAGE_STATE)?.[0];
  const word = (state === undefined ? undefined : STATES[state]) ?? field(text, 'stat').toUpperCase();
  const id = tlvs.get(Tag.RECEIPTED_MESSAGE_ID)?.toString('latin1').replace(/\0.*$/s, '') ?? '';
  const reference = tlvs.get(Tag.USER_MESSAGE_REFERENCE);
  const status = statusOf(word);
  const error = field(text, 'err');
  return {
    id: id === '' ? field(text, 'id') : id,
    status,
    reason: status === 'failed' ? `${word}${error === '' ? '' : `, err ${error}`}` : null,
    reference: reference?.length === 2 ? reference.readUInt16BE() : undefined,
  };
}

function statusOf(word: string): SmscReceipt['status'] {
  if (word === 'DELIVRD') return 'delivered';
  if (FAILED.has(word)) return 'failed';
  return SENT.has(word) ? 'sent' : undefined;
}

/** The value behind `name:`, up to white space or the NUL that some SMSCs end a text with; '': it is not there. */
function field(text: string, name: string): string {
  return new RegExp(`(?:^|\\s)${name}:([^\\s\\0]{1,65})`, 'i').exec(text)?.[1] ?? '';
}
