/**
 * GET /api/v1/usage?user_id=17&month=2026-11: what a user has used in a month. Administrators ask for any user, a key
 * for its own; without `month` it is the present one.
 *
 * Of the present month this gateway knows more than the database, which learns of requests a moment later; the answer
 * has what is known, with requests under way. No quota counts the question itself.
 */
import { accessErrors } from '../../access/errors.ts';
import { serializerOf } from '../../http/json.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { DATABASE_WORKER, type Question } from '../../service/database/questions.ts';
import { serviceErrors } from '../../service/errors.ts';
import type { Area } from '../area.ts';
import type { Demand, Exchange } from '../front/exchange.ts';
import type { Guard } from '../front/guard.ts';
import type { SharedQuotas } from './shared-quotas.ts';
import { monthText, USAGE_AREA, type UsageQuestion } from './usage-answers.ts';
import { type Usage, usageSchema } from './usage-schema.ts';
import { monthOf } from './usage-table.ts';

const ASK_MS_MAX = 12_000;
const MONTH = /^(\d{4})-(0[1-9]|1[0-2])$/;
const USER = /^[1-9]\d{0,15}$/;
const usageBody = serializerOf<Usage>(usageSchema);

const demand = { route: 'usage', scope: 'read', administratorToo: true, outsideQuota: true } as const satisfies Demand;

function questionOf({ target, user, administrator }: Exchange, now: number): UsageQuestion {
  const mark = target.indexOf('?');
  const query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1));
  const unknown = [...query.keys()].find((name) => name !== 'user_id' && name !== 'month');
  if (unknown !== undefined)
    throw serviceErrors.INPUT_REFUSED({ reason: `parameters must be user_id and month: found=${unknown}` });
  const id = query.get('user_id') ?? (user === undefined ? '' : String(user.id));
  if (!USER.test(id)) throw serviceErrors.INPUT_REFUSED({ reason: `user_id must be the id of a user: found=${id}` });
  const month = query.get('month') ?? monthText(monthOf(now));
  const parts = MONTH.exec(month);
  if (parts === null) throw serviceErrors.INPUT_REFUSED({ reason: `month must be YYYY-MM: found=${month}` });
  if (!administrator && Number(id) !== user?.id)
    throw accessErrors.KEY_FORBIDDEN({ reason: `a key may ask for the usage of its own user: found=${id}` });
  return { userId: Number(id), month: Number(parts[1]) * 12 + Number(parts[2]) - 1 };
}

export function openUsage(
  { ask, now }: Pick<AcceptorFrame, 'ask' | 'now'>,
  guard: Guard,
  quotas: Pick<SharedQuotas, 'used'>,
): Area {
  const read = guard.route(demand, async (exchange) => {
    const input = questionOf(exchange, now());
    const question: Question = { area: USAGE_AREA, what: 'ofUser', input };
    const stored = (await ask(DATABASE_WORKER, question, ASK_MS_MAX, 'reads')) as Usage;
    const { requests, bytes } = quotas.used(input.userId, input.month) ?? stored;
    const usage = {
      ...stored,
      requests: Math.max(stored.requests, requests),
      bytes: Math.max(stored.bytes, bytes),
    };
    exchange.json(200, usageBody(usage));
  });
  return { routes: [{ name: 'usage', path: '/api/v1/usage', cors: guard.cors, on: { GET: read } }] };
}
