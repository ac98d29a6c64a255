/**
 * Administrators' routes. Path, method, parameters and body of each stand in the document, by the name of the
 * operation; here is only what an operation does.
 */
import { serializerOf } from '../../http/json.ts';
import { later } from '../../http/reply.ts';
import type { Handler, Route } from '../../http/router.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { type DescribedOperation, givenParameters, operationsIn } from '../../service/openapi/operations.ts';
import { checksOf } from '../../service/openapi/validation.ts';
import { auditPageSchema } from '../../service/schemas.ts';
import type { Area } from '../area.ts';
import { adminOf } from '../database/admin/answers.ts';
import type {
  Actor,
  AuditEntry,
  KeyChange,
  KeyView,
  MadeKey,
  NewKey,
  NewUser,
  Page,
  QuotaLimits,
  RateLimits,
  UserChange,
  UserView,
} from '../database/admin/contract.ts';
import type { Demand } from '../front/exchange.ts';
import type { Guard } from '../front/guard.ts';
import { openApi, openApiText } from './openapi/document.ts';
import { pageRoutes } from './pages.ts';
import * as schemas from './schemas.ts';

const LIMIT = 100;

const userBody = serializerOf<UserView>(schemas.userSchema);
const userPageBody = serializerOf<Page<UserView>>(schemas.userPageSchema);
const keysBody = serializerOf<{ readonly items: readonly KeyView[] }>(schemas.keyListSchema);
const keyBody = serializerOf<KeyView>(schemas.keySchema);
const madeKeyBody = serializerOf<MadeKey>(schemas.madeKeySchema);
const limitsBody = serializerOf<RateLimits>(schemas.limitsSchema);
const quotaBody = serializerOf<QuotaLimits>(schemas.quotaSchema);
const networksBody = serializerOf<readonly string[]>(schemas.networksSchema);
const auditBody = serializerOf<Page<AuditEntry>>(auditPageSchema);

export interface Given {
  readonly actor: Actor;
  /** Of path and query, valid by the document. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Valid by the document. */
  readonly body: unknown;
}
export type Answered = readonly [status: number, body?: string];
export type Does = (given: Given) => Promise<Answered>;
/** What each operation does, by its name in the document. */
export type Operations = Readonly<Record<string, Does>>;
type Ask = ReturnType<typeof adminOf>;

function operationsOf(ask: Ask): Operations {
  const userId = ({ parameters }: Given): number => parameters['id'] as number;
  const keyId = ({ parameters }: Given): string => parameters['id'] as string;
  const user = (given: Given): Promise<UserView> => ask('user', { id: userId(given) });
  const limitOf = ({ parameters }: Given): number => (parameters['limit'] as number | undefined) ?? LIMIT;
  return {
    listUsers: async (given) => {
      const asked = given.parameters as { after?: number; search?: string };
      return [200, userPageBody(await ask('listUsers', { ...asked, limit: limitOf(given) }))];
    },
    addUser: async ({ actor, body }) => [201, userBody(await ask('addUser', { actor, user: body as NewUser }))],
    getUser: async (given) => [200, userBody(await user(given))],
    changeUser: async (given) => {
      const change = given.body as UserChange;
      return [200, userBody(await ask('changeUser', { actor: given.actor, id: userId(given), change }))];
    },
    removeUser: async (given) => {
      await ask('removeUser', { actor: given.actor, id: userId(given) });
      return [204];
    },
    getUserLimits: async (given) => [200, limitsBody((await user(given)).limits)],
    setUserLimits: async (given) => {
      const limits = given.body as Partial<RateLimits>;
      return [200, limitsBody(await ask('setLimits', { actor: given.actor, userId: userId(given), limits }))];
    },
    getUserQuota: async (given) => [200, quotaBody((await user(given)).quota)],
    setUserQuota: async (given) => {
      const quota = given.body as Partial<QuotaLimits>;
      return [200, quotaBody(await ask('setQuota', { actor: given.actor, userId: userId(given), quota }))];
    },
    getUserNetworks: async (given) => [200, networksBody((await user(given)).networks)],
    setUserNetworks: async (given) => {
      const networks = given.body as readonly string[];
      return [200, networksBody(await ask('setNetworks', { actor: given.actor, userId: userId(given), networks }))];
    },
    listKeys: async (given) => [200, keysBody({ items: await ask('listKeys', { userId: userId(given) }) })],
    addKey: async (given) => {
      const key = given.body as NewKey;
      return [201, madeKeyBody(await ask('addKey', { actor: given.actor, userId: userId(given), key }))];
    },
    changeKey: async (given) => {
      const change = given.body as KeyChange;
      return [200, keyBody(await ask('changeKey', { actor: given.actor, id: keyId(given), change }))];
    },
    rotateKey: async (given) => {
      const { overlap_s: overlapS } = given.body as { overlap_s: number };
      return [200, madeKeyBody(await ask('rotateKey', { actor: given.actor, id: keyId(given), overlapS }))];
    },
    revokeKey: async (given) => {
      await ask('revokeKey', { actor: given.actor, id: keyId(given) });
      return [204];
    },
    listAudit: async (given) => {
      const asked = given.parameters as { before?: number };
      return [200, auditBody(await ask('audit', { ...asked, limit: limitOf(given) }))];
    },
  };
}

/** `backends`: the operations of balance/operations.ts, which need what acceptors share. */
export function openAdmin(frame: Pick<AcceptorFrame, 'ask'>, guard: Guard, backends: Operations): Area {
  const operations = { ...operationsOf(adminOf(frame)), ...backends };
  const describe = later((reply) => reply.bytes(200, 'application/json', openApiText()));
  const routes: Route[] = [
    { name: 'openapi', path: '/openapi.json', cors: guard.cors, on: { GET: describe } },
    ...pageRoutes(),
  ];
  for (const described of operationsIn(openApi)) {
    const { operation, method, path } = described;
    const does = operations[operation.operationId];
    if (does === undefined) continue;
    routes.push({
      name: operation.tags[0]!,
      path,
      cors: guard.cors,
      on: { [method]: handlerOf(guard, described, does) },
      // What is long goes out in pieces (front/answering.ts): lists, and a key or a user with many networks.
      streams: true,
      ...(operation.requestBody === undefined ? {} : { takesBody: true }),
    });
  }
  return { routes };
}

function handlerOf(guard: Guard, described: DescribedOperation, does: Does): Handler {
  const { operation } = described;
  const checks = checksOf(openApi, operation.operationId);
  const takes = operation.requestBody !== undefined;
  const demand: Demand = {
    route: operation.tags[0]!,
    scope: 'administrator',
    ...(takes ? { takesBody: true } : {}),
  };
  return guard.route(demand, async (exchange, req) => {
    const mark = exchange.target.indexOf('?');
    const query = mark < 0 ? '' : exchange.target.slice(mark + 1);
    const parameters = checks.parameters(givenParameters(described, req, query));
    const body = takes ? checks.body(await exchange.jsonBody(req)) : undefined;
    const { key, address } = exchange;
    const actor = { name: key === undefined ? 'admin' : `key:${key.id}`, address };
    const [status, text] = await does({ actor, parameters, body });
    if (text === undefined) exchange.answer(status, []);
    else exchange.json(status, text);
  });
}
