/**
 * Receipts over HTTP: what an operator says later of messages that it took.
 *
 *   POST /v1/receipts/:operator   Authorization: Bearer <the operator's token of OPERATORS>
 *     {message_id, id?, status: sent | delivered | failed, at?, reason?}, or a list of up to 1,000
 *     200 {recorded, unknown}     after the commit. recorded: how many; unknown: ids that this operator was never given
 *     401, then 429               not the token of this operator, or there is no such operator (bounded.ts)
 *     503                         the database is away: to be sent again
 *
 * Doubled, late and early receipts do no harm, so an operator may always send again. ACCESS=open changes nothing here.
 */
import { AdminKey, bearerOf } from '../../access/admin-key.ts';
import { accessErrors } from '../../access/errors.ts';
import { serializerOf } from '../../http/json.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { serviceErrors } from '../../service/errors.ts';
import type { Area } from '../area.ts';
import type { Bounded } from '../bounded.ts';
import { answerMsMax } from '../connections.ts';
import type { Receipt } from '../operators/contract.ts';
import { operatorNames } from '../operators/names.ts';
import type { SmsValues } from '../sms.ts';
import { receiptMetrics } from './metrics.ts';
import { readReceipts } from './read.ts';
import { receiptsTakenSchema } from './schemas.ts';

export interface Desk {
  /** Resolves after the commit; rejects when that cannot be. */
  take(receipt: Receipt): Promise<'recorded' | 'unknown'>;
  close(): Promise<void>;
}

interface Answer {
  readonly recorded: number;
  readonly unknown: readonly string[];
}
const answerBody = serializerOf<Answer>(receiptsTakenSchema);

export function openReceipts(frame: AcceptorFrame<SmsValues>, desk: Desk, bounded: Bounded): Area {
  const { values, bodies, now } = frame;
  const counts = frame.meters(receiptMetrics(operatorNames(values))).ringmain_sms_receipts_total;
  const tokens = new Map(values.operators.operators.map(({ name, token }) => [name, new AdminKey(token)]));
  // A name that is no operator's takes as long as one that is.
  const nobody = new AdminKey(undefined);

  const take = bounded(
    async (reply, req) => {
      const operator = req.getParameter(0) ?? '';
      const shown = bearerOf(req.getHeader('authorization'));
      if (shown === undefined)
        throw accessErrors.KEY_REQUIRED({
          reason: "the operator's token must be given: Authorization: Bearer <token of OPERATORS>",
        });
      if (!(tokens.get(operator) ?? nobody).matches(shown)) throw accessErrors.KEY_INVALID();
      const receipts = readReceipts(await reply.jsonBody(req, bodies), operator, now());
      const results = await recorded(desk, receipts);
      const unknown = receipts.filter((_, at) => results[at] === 'unknown').map(({ messageId }) => messageId!);
      const known = receipts.length - unknown.length;
      counts.at({ operator, result: 'recorded' }).add(known);
      counts.at({ operator, result: 'unknown' }).add(unknown.length);
      reply.json(200, answerBody, { recorded: known, unknown });
    },
    { timeoutMs: answerMsMax(values) },
  );

  return {
    routes: [{ name: 'receipts', path: '/v1/receipts/:operator', takesBody: true, on: { POST: take } }],
    close: () => void desk.close(),
  };
}

async function recorded(desk: Desk, receipts: readonly Receipt[]): Promise<readonly ('recorded' | 'unknown')[]> {
  const results = await Promise.allSettled(receipts.map((receipt) => desk.take(receipt)));
  const failed = results.find((result) => result.status === 'rejected');
  // What of a list was committed is committed again without harm.
  if (failed !== undefined) throw serviceErrors.DATABASE_UNAVAILABLE({}, failed.reason);
  return results.map((result) => (result as PromiseFulfilledResult<'recorded' | 'unknown'>).value);
}
