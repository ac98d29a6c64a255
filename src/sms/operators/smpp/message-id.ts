/**
 * Message ids of an SMSC, so that the one in a receipt is the one in submit_sm_resp. SMPP 3.4 says nothing of how an id
 * is written, and some SMSCs write the same number in two ways (`receipt_id` of OPERATORS):
 *
 *   same     receipts have the id as submit_sm_resp had it
 *   hex      submit_sm_resp gave it in decimal, receipts give it in hexadecimal
 *   decimal  submit_sm_resp gave it in hexadecimal, receipts give it in decimal
 *
 * With hex and decimal the id is kept in decimal, because leading zeros and the case of hexadecimal digits differ, too.
 * What is no number in its base stays as it stands.
 */
export const receiptIds = ['same', 'hex', 'decimal'] as const;
export type ReceiptId = (typeof receiptIds)[number];

type Reads = (id: string) => string;
/** Reads an id as it came from the SMSC. */
export interface MessageIds {
  readonly submitted: Reads;
  readonly receipted: Reads;
}

const asItStands: Reads = (id) => id;
const fromHex: Reads = (id) => (/^[0-9a-f]+$/i.test(id) ? BigInt(`0x${id}`).toString() : id);
const fromDecimal: Reads = (id) => (/^[0-9]+$/.test(id) ? BigInt(id).toString() : id);

const byOption: Readonly<Record<ReceiptId, MessageIds>> = {
  same: { submitted: asItStands, receipted: asItStands },
  hex: { submitted: fromDecimal, receipted: fromHex },
  decimal: { submitted: fromHex, receipted: fromDecimal },
};

export const messageIdsOf = (receiptId: ReceiptId = 'same'): MessageIds => byOption[receiptId];
