/**
 * Routes that answer questions: GET /stats and GET /reconcile ask the worker `query`; GET /openapi.json describes all
 * routes of the service.
 */
import type { HttpRequest } from 'uWebSockets.js';
import { Cors } from '../../http/cors.ts';
import { serializerOf } from '../../http/json.ts';
import { later, type Reply } from '../../http/reply.ts';
import type { Route } from '../../http/router.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { type Reconciled, reconcileSchema, type Stats, statsSchema } from '../schemas.ts';
import { QUERY_WORKER } from './names.ts';
import { type GivenPaths, openApiText } from './openapi.ts';
import { type Parameter, parametersOf } from './parameter.ts';
import { ASK_MS_MAX, type Question, reconcileQuestion, statsQuestion } from './questions.ts';

const statsBody = serializerOf<Stats>(statsSchema);
const reconcileBody = serializerOf<Reconciled>(reconcileSchema);

export interface QueryDeps extends Pick<AcceptorFrame, 'ask'> {
  /** CORS_ORIGINS. */
  readonly corsOrigins: readonly string[];
  readonly paths: GivenPaths;
  /** Rejects when the request may not read this site; it reads its headers before the first await. */
  permit(req: HttpRequest, siteId: string): Promise<void> | void;
}

export function queryRoutes({ ask, corsOrigins, paths, permit }: QueryDeps): readonly Route[] {
  const cors = new Cors(corsOrigins);
  /** Asks the worker what `read` finds in the query. */
  const asked = <A>(
    read: (parameter: Parameter) => Question & { readonly siteId: string },
    body: (answer: A) => string,
  ) =>
    later(async (reply: Reply, req: HttpRequest) => {
      const question = read(parametersOf(req));
      await permit(req, question.siteId);
      if (!reply.open) return;
      reply.json(200, body, (await ask(QUERY_WORKER, question, ASK_MS_MAX, 'reads')) as A);
    });
  const show = asked((parameter) => ({ name: 'stats', ...statsQuestion(parameter) }), statsBody);
  const check = asked((parameter) => ({ name: 'reconcile', ...reconcileQuestion(parameter) }), reconcileBody);
  let text: string | undefined;
  const describe = later((reply) => {
    text ??= openApiText(paths);
    reply.bytes(200, 'application/json', text);
  });
  return [
    { name: 'stats', path: '/stats', on: { GET: show, HEAD: show }, cors },
    { name: 'reconcile', path: '/reconcile', on: { GET: check, HEAD: check }, cors },
    { name: 'openapi', path: '/openapi.json', on: { GET: describe, HEAD: describe }, cors },
  ];
}
