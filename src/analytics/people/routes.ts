/**
 * Routes about people: login, logout, who somebody is, share links. The worker `people` decides; here are cookies, the
 * guards against forged requests, and what a body must be. A body is application/json, which no form of a foreign page
 * can send; none of these routes is for pages of other origins.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { csrfOf } from '../../access/token.ts';
import { admitted } from '../../http/admitted.ts';
import type { AddressReader } from '../../http/client-address.ts';
import { httpErrors } from '../../http/errors.ts';
import { serializerOf } from '../../http/json.ts';
import { later, type Reply } from '../../http/reply.ts';
import type { Handler, MountedRoute, Route } from '../../http/router.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { PeopleCookies } from '../access/cookies.ts';
import { mustBeOurs, type Readers } from '../access/readers.ts';
import type { MadeShare, MeAnswer, NewShare, SharesAnswer } from '../api/contract.ts';
import { analyticsErrors } from '../errors.ts';
import { type LoggedIn, PEOPLE_WORKER, type PeopleQuestion } from './questions.ts';
import { madeShareSchema, meSchema, sharesSchema } from './schemas.ts';
import { UNLOCKED_S } from './shares.ts';

/** Longer than a password takes behind all that may wait before it, and shorter than a reply may take. */
const ASK_MS_MAX = 9500;
/** Characters of a text in a body that are worth a look: no name, token or password is longer. */
const TEXT_MAX = 1000;

const meBody = serializerOf<MeAnswer>(meSchema);
const sharesBody = serializerOf<SharesAnswer>(sharesSchema);
const madeBody = serializerOf<MadeShare>(madeShareSchema);

export interface PeopleDeps extends Pick<AcceptorFrame, 'ask' | 'bodies'> {
  readonly readers: Readers;
  readonly cookies: PeopleCookies;
  readonly addressOf: AddressReader;
}

type Fields = Readonly<Record<string, unknown>>;

export function peopleRoutes({ ask, bodies, readers, cookies, addressOf }: PeopleDeps): readonly Route[] {
  const asked = (question: PeopleQuestion): Promise<unknown> =>
    ask(PEOPLE_WORKER, question, ASK_MS_MAX, question.what === 'shares' ? 'reads' : 'changes');

  /** Attach before the first await; parsed after it. */
  const fieldsIn = async (reply: Reply, req: HttpRequest): Promise<Fields> => {
    const type = req.getHeader('content-type');
    if (!/^application\/json *(;|$)/i.test(type))
      throw httpErrors.BAD_REQUEST({ reason: 'the content type must be application/json' });
    const body = await reply.jsonBody(req, bodies);
    if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Fields;
    throw httpErrors.BAD_REQUEST({ reason: 'the body must be an object' });
  };

  /** As later(), for what needs the address of the client; asked for by a page of ours alone. */
  const addressed = (answer: (reply: Reply, req: HttpRequest, address: string) => Promise<void>): Handler => {
    let address = '';
    const handler = later(async (reply, req) => {
      mustBeOurs(req);
      await answer(reply, req, address);
    });
    return (res: HttpResponse, req: HttpRequest, at: MountedRoute) => {
      address = addressOf(res, req);
      handler(res, req, at);
    };
  };

  const login = addressed(async (reply, req, address) => {
    const secure = cookies.secure(req);
    const fields = await fieldsIn(reply, req);
    const question = { user: textIn(fields, 'user'), password: textIn(fields, 'password'), address };
    const { token, me } = (await asked({ what: 'login', ...question })) as LoggedIn;
    const told = { me, csrf: csrfOf(token), open: readers.everybody };
    reply.json(200, meBody, told, { 'Set-Cookie': cookies.setSession(secure, token) });
  });

  const logout = addressed(async (reply, req, address) => {
    const [secure, session] = [cookies.secure(req), cookies.session(req)];
    await asked({ what: 'logout', session, address });
    reply.empty(204, { 'Set-Cookie': cookies.setSession(secure, '') });
  });

  const show = later(async (reply, req) => {
    const reader = await readers.reader(req);
    const open = reader?.by === 'open' || reader?.by === 'local';
    reply.json(200, meBody, { me: reader?.me ?? null, csrf: reader?.session ? csrfOf(reader.session) : null, open });
  });

  const listShares = later(async (reply, req) => {
    const siteId = parameterOf(req, 0);
    await readers.mayManage(req);
    reply.json(200, sharesBody, (await asked({ what: 'shares', siteId })) as SharesAnswer);
  });

  const addShare = later(async (reply, req) => {
    const siteId = parameterOf(req, 0);
    const [{ me }, fields] = await admitted(readers.mayChange(req), () => fieldsIn(reply, req));
    const settings = Object.fromEntries(
      (['label', 'password', 'expires_at'] as const)
        .filter((name) => fields[name] !== undefined && fields[name] !== null)
        .map((name) => [name, textIn(fields, name)]),
    ) as NewShare;
    const made = await asked({ what: 'addShare', siteId, settings, actor: me?.user ?? null });
    reply.json(201, madeBody, made as MadeShare);
  });

  const removeShare = later(async (reply, req) => {
    const [siteId, id] = [parameterOf(req, 0), parameterOf(req, 1)];
    const { me } = await readers.mayChange(req);
    if (!(await asked({ what: 'removeShare', siteId, id, actor: me?.user ?? null })))
      throw httpErrors.NOT_FOUND({ path: `/api/sites/${siteId}/shares/${id}` });
    reply.empty(204);
  });

  const unlock = addressed(async (reply, req, address) => {
    const secure = cookies.secure(req);
    const fields = await fieldsIn(reply, req);
    const share = textIn(fields, 'share');
    const question = { share, password: textIn(fields, 'password'), address };
    const value = (await asked({ what: 'unlock', ...question })) as string;
    reply.empty(204, { 'Set-Cookie': cookies.setUnlocked(secure, share, value, UNLOCKED_S) });
  });

  return [
    { name: 'login', path: '/api/login', on: { POST: login }, takesBody: true },
    { name: 'logout', path: '/api/logout', on: { POST: logout } },
    { name: 'me', path: '/api/me', on: { GET: show, HEAD: show } },
    {
      name: 'shares',
      path: '/api/sites/:site/shares',
      on: { GET: listShares, HEAD: listShares, POST: addShare },
      takesBody: true,
    },
    { name: 'shares', path: '/api/sites/:site/shares/:share', on: { DELETE: removeShare } },
    { name: 'unlock', path: '/api/share/unlock', on: { POST: unlock }, takesBody: true },
  ];
}

/** A text of the body. Throws BAD_PARAMETER, and says nothing of what it is: it may be a password. */
function textIn(fields: Fields, parameter: string): string {
  const value = fields[parameter];
  if (typeof value === 'string' && value !== '' && value.length <= TEXT_MAX && !value.includes('\0')) return value;
  const found = value === undefined ? undefined : value === '' ? 'an empty text' : 'something else';
  throw analyticsErrors.BAD_PARAMETER({ parameter, must: `be a text of 1 to ${TEXT_MAX} characters`, found });
}

/** A part of the path, decoded. Throws NOT_FOUND for one that is not percent-encoded as it should be. */
function parameterOf(req: HttpRequest, index: number): string {
  const given = req.getParameter(index) ?? '';
  try {
    const text = decodeURIComponent(given);
    if (text !== '' && text.length <= TEXT_MAX && !text.includes('\0')) return text;
  } catch {
    // A URIError.
  }
  throw httpErrors.NOT_FOUND({ path: given.slice(0, 200) });
}
