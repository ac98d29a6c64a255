/** Parts that the paths of the API document are put together from: schemas by name, answers, refusals, parameters. */
import { acceptedSchema } from '../../collect/schemas.ts';
import type { BodySchema } from '../../http/json.ts';
import { problemSchema } from '../../http/problem.ts';
import { namedSchemas, refusalsOf, retryAfter } from '../../service/openapi/parts.ts';
import { readinessSchema } from '../../service/schemas.ts';
import {
  breakdownSchema,
  goalSchema,
  goalsSchema,
  liveTickSchema,
  siteSchema,
  sitesSchema,
  summarySchema,
  timeseriesSchema,
  v2AnswerSchema,
} from '../api/schemas.ts';
import {
  loginSchema,
  madeShareSchema,
  meSchema,
  newShareSchema,
  sharesSchema,
  unlockSchema,
} from '../people/schemas.ts';
import { eventSchema, eventsAcceptedSchema, reconcileSchema, statsSchema } from '../schemas.ts';

export { answer, content, inQuery, type Json, plain } from '../../service/openapi/parts.ts';

export const named = {
  Stats: statsSchema,
  Site: siteSchema,
  Sites: sitesSchema,
  Summary: summarySchema,
  Timeseries: timeseriesSchema,
  Breakdown: breakdownSchema,
  Goal: goalSchema,
  Goals: goalsSchema,
  LiveTick: liveTickSchema,
  V2Answer: v2AnswerSchema,
  Me: meSchema,
  Login: loginSchema,
  Shares: sharesSchema,
  NewShare: newShareSchema,
  MadeShare: madeShareSchema,
  Unlock: unlockSchema,
  Reconciliation: reconcileSchema,
  Event: eventSchema,
  EventsAccepted: eventsAcceptedSchema,
  CollectAccepted: acceptedSchema,
  Readiness: readinessSchema,
  Problem: problemSchema,
} as const satisfies Record<string, BodySchema>;

export const { ref, json, schemas } = namedSchemas(named);

const problems = {
  400: 'The request is not valid; `detail` says what must hold and what was found.',
  401: 'A key, a login or the password of a share link is missing or not valid.',
  403: 'The key, the role, the origin or the page is not allowed to do this.',
  404: 'There is no such site, goal or share link.',
  405: 'The route does not support this method; `Allow` says which it does.',
  408: 'The body arrived too slowly.',
  409: 'The change was refused; `detail` says why.',
  413: 'The body is too large.',
  415: 'The content encoding is not supported.',
  429: 'Nothing was stored: there are too many requests, or the log is full.',
  500: 'Something went wrong on our side.',
  503: 'There is no answer at the moment.',
} as const;

export const refusals = refusalsOf<keyof typeof problems>(problems, ref('Problem'), (status) =>
  status === 429 || status === 503 ? { 'Retry-After': retryAfter } : undefined,
);

/** Reading asks for a read key, a login or a share link, where not everything is open. */
export const reading = [{}, { readKey: [] }, { session: [] }, { share: [] }];
export const sending = [{}, { ingestKey: [] }];
