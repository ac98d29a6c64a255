/** The path of the document that operators ask. */
import { RECEIPTS_MAX } from '../receipts/read.ts';
import { answer, asked, inPath, type Json, json, sends, takes } from './parts.ts';

export const receiptPaths: Json = {
  '/v1/receipts/{operator}': {
    post: asked('takeReceipts', {
      tag: 'receipts',
      summary: 'Takes what an operator says of messages that it took: one receipt, or a list.',
      description: `A list has at most ${RECEIPTS_MAX}. Doubled, late and early receipts do no harm.`,
      ok: { 200: answer('Committed; `unknown`: ids that this operator was never given.', json('ReceiptsTaken')) },
      refused: sends,
      security: [{ operatorToken: [] }],
      more: {
        parameters: [inPath('operator', 'Name of the operator in OPERATORS.', { type: 'string' })],
        ...takes('Receipts'),
      },
    }),
  },
};
