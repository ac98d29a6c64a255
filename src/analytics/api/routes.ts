/**
 * Routes of the API that the dashboard, and anybody with a read key, asks: parse, permit, ask the worker `query`,
 * answer. contract.ts has their parameters and answers.
 */
import type { HttpRequest } from 'uWebSockets.js';
import { admitted } from '../../http/admitted.ts';
import type { BodyReader } from '../../http/body.ts';
import { Cors } from '../../http/cors.ts';
import type { Faults } from '../../http/handlers.ts';
import { type BodySchema, serializerOf } from '../../http/json.ts';
import { later, type Reply } from '../../http/reply.ts';
import type { Route } from '../../http/router.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { ReadAccess, Visible } from '../access/readers.ts';
import { QUERY_WORKER } from '../query/names.ts';
import { checkSiteId, type Parameter, parametersOf, wrong } from '../query/parameter.ts';
import { ASK_MS_MAX } from '../query/questions.ts';
import { isTimeZone } from '../query/range.ts';
import type { Paths, Site } from './contract.ts';
import { exportHandler } from './export.ts';
import { newGoalFrom } from './new-goal.ts';
import { type ApiQuestion, askedBreakdown, askedSite, intervalFrom, isChange, metricFrom } from './questions.ts';
import {
  breakdownSchema,
  goalSchema,
  goalsSchema,
  siteSchema,
  sitesSchema,
  summarySchema,
  timeseriesSchema,
  v2AnswerSchema,
} from './schemas.ts';
import { v2QueryOf, v2SiteOf } from './v2/query.ts';

export interface ApiDeps extends Pick<AcceptorFrame, 'ask'> {
  /** CORS_ORIGINS. */
  readonly corsOrigins: readonly string[];
  readonly access: ReadAccess;
  readonly paths: Paths;
  readonly bodies: BodyReader;
  readonly now: () => number;
  readonly faults: Faults;
}

/** The n-th part of the path, decoded. */
export function pathPart(req: HttpRequest, index: number): string | undefined {
  const raw = req.getParameter(index);
  try {
    return raw === undefined ? undefined : decodeURIComponent(raw);
  } catch {
    throw wrong('site_id', 'be percent-encoded UTF-8 in the path', raw);
  }
}

export const siteIn = (req: HttpRequest): string => checkSiteId(pathPart(req, 0));

export function apiRoutes({ ask, corsOrigins, access, paths, bodies, now, faults }: ApiDeps): readonly Route[] {
  const cors = new Cors(corsOrigins);
  const query = (question: ApiQuestion): Promise<unknown> =>
    ask(QUERY_WORKER, question, ASK_MS_MAX, isChange(question) ? 'changes' : 'reads');
  /** A question about a site that is in the path. */
  const reading = (read: (siteId: string, parameter: Parameter) => ApiQuestion, schema: BodySchema) => {
    const body = serializerOf<unknown>(schema);
    return later(async (reply: Reply, req: HttpRequest) => {
      const siteId = siteIn(req);
      const [, question] = await admitted(access.mayRead(req, siteId), () => read(siteId, parametersOf(req)));
      if (reply.open) reply.json(200, body, await query(question));
    });
  };

  const sitesBody = serializerOf<{ readonly sites: unknown; readonly paths: Paths } & Pick<Visible, 'me'>>(sitesSchema);
  const sites = later(async (reply, req) => {
    const { me, sites: visible } = await access.visible(req);
    const found = await query({ name: 'sites', ...(visible === undefined ? {} : { sites: visible }) });
    if (reply.open) reply.json(200, sitesBody, { me, sites: found, paths });
  });
  const siteBody = serializerOf<Site>(siteSchema);
  const changeSite = later(async (reply, req) => {
    const siteId = siteIn(req);
    const [, found] = await admitted(access.mayChange(req), () => reply.jsonBody(req, bodies));
    await query({ name: 'change_site', siteId, timeZone: timeZoneIn(found) });
    if (reply.open) reply.json(200, siteBody, (await query({ name: 'site', siteId })) as Site);
  });
  const goalBody = serializerOf<unknown>(goalSchema);
  const addGoal = later(async (reply, req) => {
    const siteId = siteIn(req);
    const [, found] = await admitted(access.mayChange(req), () => reply.jsonBody(req, bodies));
    const goal = await query({ name: 'add_goal', siteId, goal: newGoalFrom(found) });
    if (reply.open) reply.json(201, goalBody, goal);
  });
  const removeGoal = later(async (reply, req) => {
    const siteId = siteIn(req);
    const [, id] = await admitted(access.mayChange(req), () => goalIdIn(req));
    await query({ name: 'remove_goal', siteId, id });
    reply.empty(204);
  });

  const v2Body = serializerOf<unknown>(v2AnswerSchema);
  const v2 = later(async (reply, req) => {
    const permit = access.permit(req);
    const body = await reply.jsonBody(req, bodies);
    await permit(v2SiteOf(body));
    const found = await query({ name: 'v2', query: v2QueryOf(body), nowMs: now() });
    if (reply.open) reply.json(200, v2Body, found);
  });

  const at = (path: string) => `/api/sites/:site${path}`;
  const summary = reading(
    (siteId, parameter) => ({ name: 'summary', ...askedSite(siteId, parameter, now()) }),
    summarySchema,
  );
  const timeseries = reading(
    (siteId, parameter) => ({
      name: 'timeseries',
      ...askedSite(siteId, parameter, now()),
      metric: metricFrom(parameter),
      interval: intervalFrom(parameter),
    }),
    timeseriesSchema,
  );
  const breakdown = reading(
    (siteId, parameter) => ({ name: 'breakdown', ...askedBreakdown(siteId, parameter, now()) }),
    breakdownSchema,
  );
  const exported = exportHandler(
    { ask: query, permit: (req, siteId) => access.mayRead(req, siteId), now, failed: (error) => faults.report(error) },
    siteIn,
  );
  const site = reading((siteId) => ({ name: 'site', siteId }), siteSchema);
  const goals = reading((siteId) => ({ name: 'goals', siteId }), goalsSchema);
  return [
    { name: 'sites', path: '/api/sites', on: { GET: sites, HEAD: sites }, cors },
    { name: 'site', path: at(''), on: { GET: site, HEAD: site, PATCH: changeSite }, cors, takesBody: true },
    { name: 'summary', path: at('/summary'), on: { GET: summary, HEAD: summary }, cors },
    { name: 'timeseries', path: at('/timeseries'), on: { GET: timeseries, HEAD: timeseries }, cors },
    { name: 'breakdown', path: at('/breakdown'), on: { GET: breakdown, HEAD: breakdown }, cors },
    { name: 'export', path: at('/export'), on: { GET: exported }, cors, streams: true },
    { name: 'v2', path: '/api/v2/query', on: { POST: v2 }, cors, takesBody: true },
    { name: 'goals', path: at('/goals'), on: { GET: goals, HEAD: goals, POST: addGoal }, cors, takesBody: true },
    { name: 'goal', path: at('/goals/:goal'), on: { DELETE: removeGoal }, cors },
  ];
}

function timeZoneIn(body: unknown): string {
  const found = (body as { readonly time_zone?: unknown } | null)?.time_zone;
  if (typeof found !== 'string' || !isTimeZone(found))
    throw wrong(
      'time_zone',
      'be an IANA time zone such as Asia/Kathmandu',
      typeof found === 'string' ? found : undefined,
    );
  return found;
}

function goalIdIn(req: HttpRequest): number {
  const found = pathPart(req, 1);
  if (found === undefined || !/^[1-9]\d{0,8}$/.test(found)) throw wrong('goal', 'be the id of a goal', found);
  return Number(found);
}
