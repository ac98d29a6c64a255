/**
 * Administrators' routes. Path, method, parameters and body of each stand in the document (openapi/), by the name of
 * the operation; here is only what an operation does. Each asks for ADMIN_KEY, with ACCESS=open as well.
 */
import { accessErrors } from '../../access/errors.ts';
import { admitted } from '../../http/admitted.ts';
import type { Handler } from '../../http/handlers.ts';
import { serializerOf } from '../../http/json.ts';
import type { Route } from '../../http/router.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { Actor, AuditEntry, Page } from '../../service/database/contract.ts';
import { type DescribedOperation, givenParameters, operationsIn } from '../../service/openapi/operations.ts';
import { checksOf } from '../../service/openapi/validation.ts';
import { auditPageSchema } from '../../service/schemas.ts';
import type { Area } from '../area.ts';
import type { Bounded } from '../bounded.ts';
import { answerMsMax } from '../connections.ts';
import { parseExact } from '../exact-json.ts';
import { openApi, openApiText } from '../openapi/document.ts';
import type { SmsValues } from '../sms.ts';
import { type CallerOf, mustAdminister } from './contract.ts';
import { adminOf } from './questions.ts';
import * as schemas from './schemas.ts';
import type {
  CallbackSecret,
  CreditView,
  CustomerChange,
  CustomerView,
  KeyView,
  MadeCustomer,
  MadeKey,
  NewCredit,
  NewCustomer,
  NewKey,
} from './views.ts';

const LIMIT = 100;

const customerBody = serializerOf<CustomerView>(schemas.customerSchema);
const madeCustomerBody = serializerOf<MadeCustomer>(schemas.madeCustomerSchema);
const customerPageBody = serializerOf<Page<CustomerView, string>>(schemas.customerPageSchema);
const creditBody = serializerOf<CreditView>(schemas.creditSchema);
const keysBody = serializerOf<{ readonly items: readonly KeyView[] }>(schemas.keyListSchema);
const madeKeyBody = serializerOf<MadeKey>(schemas.madeKeySchema);
const secretBody = serializerOf<CallbackSecret>(schemas.callbackSecretSchema);
const auditBody = serializerOf<Page<AuditEntry>>(auditPageSchema);

interface Given {
  readonly actor: Actor;
  /** Of path and query, valid by the document. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Valid by the document. */
  readonly body: unknown;
}
interface Answered {
  readonly status: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}
type Does = (given: Given) => Promise<Answered>;

const moved = ({ view, replayed }: { readonly view: CreditView; readonly replayed: boolean }): Answered => ({
  status: 200,
  body: creditBody(view),
  ...(replayed ? { headers: { 'Idempotent-Replayed': 'true' } } : {}),
});

/** What each operation does, by its name in the document. */
function operationsOf(ask: ReturnType<typeof adminOf>): Readonly<Record<string, Does>> {
  const id = ({ parameters }: Given): string => parameters['id'] as string;
  const limitOf = ({ parameters }: Given): number => (parameters['limit'] as number | undefined) ?? LIMIT;
  return {
    listCustomers: async (given) => {
      const asked = given.parameters as { after?: string; search?: string };
      return { status: 200, body: customerPageBody(await ask('listCustomers', { ...asked, limit: limitOf(given) })) };
    },
    addCustomer: async ({ actor, body }) => ({
      status: 201,
      body: madeCustomerBody(await ask('addCustomer', { actor, customer: body as NewCustomer })),
    }),
    getCustomer: async (given) => ({ status: 200, body: customerBody(await ask('customer', { id: id(given) })) }),
    changeCustomer: async (given) => {
      const change = given.body as CustomerChange;
      const changed = await ask('changeCustomer', { actor: given.actor, id: id(given), change });
      return { status: 200, body: customerBody(changed) };
    },
    creditCustomer: async (given) =>
      moved(await ask('credit', { actor: given.actor, id: id(given), credit: given.body as NewCredit })),
    debitCustomer: async (given) =>
      moved(await ask('debit', { actor: given.actor, id: id(given), debit: given.body as NewCredit })),
    rotateCallbackSecret: async (given) => ({
      status: 200,
      body: secretBody(await ask('rotateCallbackSecret', { actor: given.actor, id: id(given) })),
    }),
    listKeys: async (given) => ({
      status: 200,
      body: keysBody({ items: await ask('listKeys', { customerId: id(given) }) }),
    }),
    addKey: async (given) => {
      const key = given.body as NewKey;
      return {
        status: 201,
        body: madeKeyBody(await ask('addKey', { actor: given.actor, customerId: id(given), key })),
      };
    },
    rotateKey: async (given) => {
      const { overlap_s: overlapS } = given.body as { overlap_s: number };
      return {
        status: 200,
        body: madeKeyBody(await ask('rotateKey', { actor: given.actor, id: id(given), overlapS })),
      };
    },
    revokeKey: async (given) => {
      await ask('revokeKey', { actor: given.actor, id: id(given) });
      return { status: 204 };
    },
    listAudit: async (given) => {
      const asked = given.parameters as { before?: number };
      return { status: 200, body: auditBody(await ask('audit', { ...asked, limit: limitOf(given) })) };
    },
  };
}

type Frame = Pick<AcceptorFrame<SmsValues>, 'ask' | 'bodies' | 'values'>;

export function openCustomers(frame: Frame, callerOf: CallerOf, bounded: Bounded): Area {
  const operations = operationsOf(adminOf(frame));
  const describe = bounded(async (reply) => reply.bytes(200, 'application/json', openApiText()));
  const routes: Route[] = [{ name: 'openapi', path: '/openapi.json', on: { GET: describe } }];
  for (const described of operationsIn(openApi)) {
    const { operation, method, path } = described;
    const does = operations[operation.operationId];
    if (does === undefined) continue;
    routes.push({
      name: operation.tags[0]!,
      path,
      on: { [method]: handlerOf(frame, callerOf, bounded, described, does) },
      ...(operation.requestBody === undefined ? {} : { takesBody: true }),
    });
  }
  return { routes };
}

function handlerOf(
  { bodies, values }: Frame,
  callerOf: CallerOf,
  bounded: Bounded,
  described: DescribedOperation,
  does: Does,
): Handler {
  const { operation } = described;
  const checks = checksOf(openApi, operation.operationId);
  const takes = operation.requestBody !== undefined;
  const off = values.sms.adminKey === undefined;
  const within = { timeoutMs: answerMsMax(values) };
  return bounded(async (reply, req, address) => {
    const actor = { name: 'admin', address };
    if (off)
      throw accessErrors.KEY_REQUIRED({ reason: 'this route is for administrators, and the server has no ADMIN_KEY' });
    const given = givenParameters(described, req, (req.getQuery() as string | undefined) ?? '');
    const administers = async () => mustAdminister(await callerOf(req));
    const [, bytes] = await admitted(administers(), () => (takes ? reply.body(req, bodies) : undefined));
    const parameters = checks.parameters(given);
    const body = bytes === undefined ? undefined : checks.body(parseExact(bytes));
    const { status, body: text, headers } = await does({ actor, parameters, body });
    if (text === undefined) reply.empty(status, headers);
    else reply.bytes(status, 'application/json', text, headers);
  }, within);
}
