/**
 * Routes of accepting: sends one message or a batch, reads messages and balances.
 *
 *   POST /v1/sms/send              200 accepted, or the first answer of its key with Idempotent-Replayed: true
 *   POST /v1/sms/batch             200 with a result for each message, in order: accepted, or its problem
 *     ?dry_run=true                prices and judges both without accepting anything
 *   GET /v1/sms/:id                a message with its history
 *   GET /v1/sms?customer_id=       messages of a customer, the newest first; limit (100, at most 1000), cursor
 *   GET /v1/customers/:id/balance  what may be spent, and what is reserved beside it
 *   GET /v1/customers/:id/transactions  its transfers, the newest first; limit, cursor
 */
import type { HttpRequest } from 'uWebSockets.js';
import { admitted } from '../../http/admitted.ts';
import { shown } from '../../http/answer.ts';
import type { Handler } from '../../http/handlers.ts';
import { serializerOf } from '../../http/json.ts';
import type { Reply } from '../../http/reply.ts';
import { type Problem, problem, RingmainError } from '../../kernel/errors.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { serviceErrors } from '../../service/errors.ts';
import type { Area } from '../area.ts';
import type { Bounded, BoundedAnswer } from '../bounded.ts';
import { answerMsMax } from '../connections.ts';
import { type Caller, type CallerOf, mustActFor } from '../customers/contract.ts';
import { smsErrors } from '../errors.ts';
import { ulidMs } from '../message/ulid.ts';
import { isCustomerId } from '../model.ts';
import { isTransferId, readStatement, type Statement } from '../money/statement.ts';
import { Carried } from '../operators/carried.ts';
import { readPrefixes } from '../operators/states.ts';
import type { SmsValues } from '../sms.ts';
import { openAcceptance } from './acceptance.ts';
import { refused, type Verdict } from './decide.ts';
import {
  type BalanceView,
  listMessages,
  type MessagePage,
  type MessageView,
  readBalance,
  readMessage,
} from './read.ts';
import { openReader } from './reader.ts';
import {
  acceptedSchema,
  balanceSchema,
  batchResultSchema,
  messagePageSchema,
  messageSchema,
  statementSchema,
} from './schemas.ts';
import { readWanted, type Wanted } from './wanted.ts';

export const BATCH_MAX = 1000;
/** Between two looks at the prefixes that workers tell. */
const PREFIXES_MS = 3000;
const LIMIT = 100;
const LIMIT_MAX = 1000;

interface AcceptedBody {
  readonly message_id?: string;
  readonly status: 'accepted' | 'dry_run';
  readonly segments: number;
  readonly cost: number;
  readonly balance: number;
}
type ResultBody = (AcceptedBody & { readonly replayed?: true }) | { readonly problem: Problem };

const acceptedBody = serializerOf<AcceptedBody>(acceptedSchema);
const batchBody = serializerOf<{ readonly results: readonly ResultBody[] }>(batchResultSchema);
const messageBody = serializerOf<MessageView>(messageSchema);
const pageBody = serializerOf<MessagePage>(messagePageSchema);
const balanceBody = serializerOf<BalanceView>(balanceSchema);
const statementBody = serializerOf<Statement>(statementSchema);

/** While the database is away, what workers told last counts; nothing is accepted then. */
const ignored = (): void => undefined;

const invalid = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });

/** Opens the routes; `callerOf` says who sends a request. */
export function openAccept(frame: AcceptorFrame<SmsValues>, callerOf: CallerOf, bounded: Bounded): Area {
  const carried = new Carried(frame.values.operators.operators);
  const acceptance = openAcceptance(frame, carried);
  const reader = openReader(frame);
  const { bodies, values } = frame;
  const follow = (): void => void reader.use(readPrefixes).then((told) => carried.told(told), ignored);
  const following = frame.rehearsing ? undefined : setInterval(follow, PREFIXES_MS).unref();

  const verdictsOf = (reply: Reply, wanted: readonly Wanted[], dry: boolean): Promise<readonly Verdict[]> =>
    dry ? reader.use((link) => acceptance.judge(link, wanted)) : acceptance.accept(wanted, () => reply.open);

  const answering = (answer: BoundedAnswer): Handler => bounded(answer, { timeoutMs: answerMsMax(values) });

  const send = answering(async (reply, req) => {
    const key = req.getHeader('idempotency-key');
    const dry = isDryRun(req);
    const [caller, body] = await admitted(callerOf(req), () => reply.jsonBody(req, bodies));
    const wanted = readItem(body, caller, values.accept, key);
    if ('kind' in wanted) {
      acceptance.refusedAtOnce(1);
      answerOne(reply, wanted, dry);
      return;
    }
    const [verdict] = await verdictsOf(reply, [wanted], dry);
    answerOne(reply, verdict!, dry);
  });

  const batch = answering(async (reply, req) => {
    if (req.getHeader('idempotency-key') !== '')
      throw invalid('the header Idempotency-Key is for one message: in a batch each has its idempotency_key');
    const dry = isDryRun(req);
    const [caller, body] = await admitted(callerOf(req), () => reply.jsonBody(req, bodies));
    const items = itemsOf(body).map((item) => readItem(item, caller, values.accept, ''));
    const wanted = items.filter((item): item is Wanted => !('kind' in item));
    const verdicts = await verdictsOf(reply, wanted, dry);
    acceptance.refusedAtOnce(items.length - wanted.length);
    let at = 0;
    const results = items.map((item) => resultOf('kind' in item ? item : verdicts[at++]!, dry));
    reply.json(200, batchBody, { results });
  });

  const show = answering(async (reply, req) => {
    const id = req.getParameter(0) ?? '';
    const caller = await callerOf(req);
    reply.json(200, messageBody, await reader.use((link) => readMessage(link, id, ownCustomer(caller))));
  });

  const list = answering(async (reply, req) => {
    const query = queryOf(req, ['customer_id', 'limit', 'cursor']);
    const caller = await callerOf(req);
    const customerId = query.get('customer_id') ?? ownCustomer(caller);
    if (customerId === undefined) throw invalid('customer_id must be given: whose messages are listed');
    mustActFor(caller, customerId);
    if (!isCustomerId(customerId)) throw smsErrors.CUSTOMER_UNKNOWN({ customer: shown(customerId) });
    const asked = { customerId, limit: limitOf(query.get('limit')), before: cursorOf(query.get('cursor')) };
    reply.json(200, pageBody, await reader.use((link) => listMessages(link, asked)));
  });

  const balance = answering(async (reply, req) => {
    const customerId = req.getParameter(0) ?? '';
    const caller = await callerOf(req);
    // 403 whoever it is: a key learns nothing about who else is a customer.
    mustActFor(caller, customerId);
    if (!isCustomerId(customerId)) throw smsErrors.CUSTOMER_UNKNOWN({ customer: shown(customerId) });
    reply.json(200, balanceBody, await reader.use((link) => readBalance(link, customerId)));
  });

  const transactions = answering(async (reply, req) => {
    const customerId = req.getParameter(0) ?? '';
    const query = queryOf(req, ['limit', 'cursor']);
    const caller = await callerOf(req);
    mustActFor(caller, customerId);
    if (!isCustomerId(customerId)) throw smsErrors.CUSTOMER_UNKNOWN({ customer: shown(customerId) });
    const before = query.get('cursor');
    if (before !== undefined && !isTransferId(before)) throw invalid('cursor must be next_cursor of a page');
    const asked = { customerId, limit: limitOf(query.get('limit')), before };
    reply.json(200, statementBody, await reader.use((link) => readStatement(link, asked)));
  });

  return {
    routes: [
      { name: 'send', path: '/v1/sms/send', takesBody: true, on: { POST: send } },
      { name: 'batch', path: '/v1/sms/batch', takesBody: true, on: { POST: batch } },
      { name: 'message', path: '/v1/sms/:id', on: { GET: show } },
      { name: 'messages', path: '/v1/sms', on: { GET: list } },
      { name: 'balance', path: '/v1/customers/:id/balance', on: { GET: balance } },
      { name: 'transactions', path: '/v1/customers/:id/transactions', on: { GET: transactions } },
    ],
    gauges: () => acceptance.gauges(),
    close: () => {
      clearInterval(following);
      acceptance.close();
      reader.close();
    },
  };
}

const ownCustomer = (caller: Caller): string | undefined =>
  caller.kind === 'customer' ? caller.customerId : undefined;

function itemsOf(body: unknown): readonly unknown[] {
  const { messages } = (body ?? {}) as { readonly messages?: unknown };
  if (!Array.isArray(messages) || messages.length === 0 || messages.length > BATCH_MAX)
    throw invalid(
      `messages must be a list of 1 to ${BATCH_MAX} messages: found=${Array.isArray(messages) ? messages.length : 'none'}`,
    );
  return messages;
}

/** A message; what is wrong with it is its own result. */
function readItem(item: unknown, caller: Caller, limits: SmsValues['accept'], headerKey: string): Wanted | Verdict {
  try {
    const wanted = readWanted(item, ownCustomer(caller), headerKey, limits);
    mustActFor(caller, wanted.customerId);
    return wanted;
  } catch (error) {
    if (!(error instanceof RingmainError)) throw error;
    return refused(problem(error));
  }
}

function answerOne(reply: Reply, verdict: Verdict, dry: boolean): void {
  if (verdict.kind === 'refused') reply.refuse(verdict.problem);
  else
    reply.json(
      200,
      acceptedBody,
      bodyOf(verdict, dry),
      verdict.kind === 'replayed' ? { 'Idempotent-Replayed': 'true' } : undefined,
    );
}

function resultOf(verdict: Verdict, dry: boolean): ResultBody {
  if (verdict.kind === 'refused') return { problem: verdict.problem };
  return verdict.kind === 'replayed' ? { ...bodyOf(verdict, dry), replayed: true } : bodyOf(verdict, dry);
}

function bodyOf(verdict: Exclude<Verdict, { readonly kind: 'refused' }>, dry: boolean): AcceptedBody {
  const { messageId, segments, cost, balance } = verdict;
  if (dry && verdict.kind === 'accepted') return { status: 'dry_run', segments, cost, balance };
  return { message_id: messageId, status: 'accepted', segments, cost, balance };
}

/** The parameters of the query. Throws INPUT_REFUSED for one that is unknown or given twice. */
function queryOf(req: HttpRequest, known: readonly string[]): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(req.getQuery() ?? '')) {
    if (!known.includes(name)) throw invalid(`a parameter must be one of ${known.join(', ')}: found=${shown(name)}`);
    if (query.has(name)) throw invalid(`${name} must be given once`);
    query.set(name, value);
  }
  return query;
}

function isDryRun(req: HttpRequest): boolean {
  const query = req.getQuery() ?? '';
  if (query === '') return false;
  const value = queryOf(req, ['dry_run']).get('dry_run');
  if (value !== 'true' && value !== 'false')
    throw invalid(`dry_run must be true or false: found=${shown(value ?? '')}`);
  return value === 'true';
}

function limitOf(text: string | undefined): number {
  const limit = text === undefined ? LIMIT : /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > LIMIT_MAX)
    throw invalid(`limit must be a whole number from 1 to ${LIMIT_MAX}: found=${shown(text!)}`);
  return limit;
}

function cursorOf(text: string | undefined): string | undefined {
  if (text !== undefined && ulidMs(text) === undefined) throw invalid('cursor must be next_cursor of a page');
  return text;
}
