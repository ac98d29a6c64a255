/**
 * Guard: what every request passes before its route, in this order.
 *
 *   1  room      for its record in the journal, else 503: nothing is served that nobody counts. The page's origin: 403
 *   2  key       X-API-Key, Authorization: Bearer, a signed URL; administrators: ADMIN_KEY, or a key with scope `admin`
 *   3  address   without a right key: N of them are 401, the next one is 429. The 403 of 1 and 4 count here as well
 *   4  rights    the user is active, the key has the scope, the address is in the networks of both: 403
 *   5  limits    of user and key, all or nothing: 429
 *   6  quota     of the month: 429
 *
 * A refusal is answered inside the handler, without a promise; only limits that are asked for across hosts (Redis) come
 * later. Then the request is kept (kept-request.ts), because the addon's own is gone by then.
 */

import type { HttpRequest } from 'uWebSockets.js';
import { AdminKey, bearerOf } from '../../access/admin-key.ts';
import { accessErrors } from '../../access/errors.ts';
import { shown } from '../../http/answer.ts';
import type { Cors } from '../../http/cors.ts';
import { httpErrors } from '../../http/errors.ts';
import type { Handler, MountedRoute } from '../../http/handlers.ts';
import { wireText } from '../../http/wire-text.ts';
import { type ErrorMaker, problemOf } from '../../kernel/errors.ts';
import { gatewayErrors } from '../errors.ts';
import type { Identity, Unidentified } from '../keys/identify.ts';
import type { Limiter, Verdict, Window } from '../limits/limiter.ts';
import type { Outcome } from '../metrics.ts';
import type { gatewayRouteNames } from '../route-names.ts';
import type { Demand, ExchangeHandler } from './exchange.ts';
import type { Front, FrontRoute } from './front.ts';
import type { Identifies, MayComeFrom, Windows } from './identity.ts';
import { keepRequest } from './kept-request.ts';
import { OpenExchange } from './open-exchange.ts';
import { type Refusal, Refusals, refusalOf } from './refusal.ts';

const API_KEY = wireText('x-api-key');
const AUTHORIZATION = wireText('authorization');

const NOT_FOR_USERS = 'ADMIN_KEY is for the routes of administrators: this is none of them, it takes a key of a user';

export interface GuardParts {
  readonly front: Front;
  readonly identifier: Identifies;
  readonly mayComeFrom: MayComeFrom;
  readonly limiter: Limiter;
  readonly windows: Windows;
  /** ADMIN_KEY; undefined: routes of administrators refuse everybody, also keys with the scope `admin`. */
  readonly adminKey: string | undefined;
  /** The rule of the gateway's routes; each gives it as its own (Route.cors). */
  readonly cors: Cors;
  /** What counts a route. */
  route(name: (typeof gatewayRouteNames)[number]): FrontRoute;
}

const outcomeOf: Readonly<Record<Unidentified['refused'], Outcome>> = {
  none: 'no_key',
  key: 'bad_key',
  expired: 'expired_key',
  signature: 'bad_key',
  unknown: 'failed',
};

export class Guard {
  readonly cors: Cors;
  readonly #parts: GuardParts;
  readonly #admin: AdminKey;
  readonly #refusals = new Refusals();
  readonly #noAdministrator: Unidentified;
  readonly #wrongAdministrator: Unidentified;

  constructor(parts: GuardParts) {
    this.#parts = parts;
    this.cors = parts.cors;
    this.#admin = new AdminKey(parts.adminKey);
    const { off } = this.#admin;
    this.#noAdministrator = noAdministrator(
      off
        ? ', and the server has no ADMIN_KEY: it is off'
        : ": Authorization: Bearer with the server's ADMIN_KEY, or a key with the scope admin",
    );
    this.#wrongAdministrator = off
      ? this.#noAdministrator
      : { refused: 'key', error: accessErrors.KEY_INVALID, fields: {} };
  }

  /** The handler of one method of a route (http/router.ts); the route has `cors: guard.cors`. */
  route(demand: Demand, handler: ExchangeHandler): Handler {
    const route = this.#parts.route(demand.route as (typeof gatewayRouteNames)[number]);
    return (res, req, at) => {
      const exchange = new OpenExchange(route, res, req, at);
      try {
        this.#enter(demand, handler, exchange, req, at);
      } catch (error) {
        exchange.fail(error);
      }
      exchange.leave();
    };
  }

  #enter(demand: Demand, handler: ExchangeHandler, exchange: OpenExchange, req: HttpRequest, at: MountedRoute): void {
    const { front, windows, mayComeFrom } = this.#parts;
    const next = new Entry(this.#parts, this.#refusals, demand, handler, exchange, req, at);
    if (!front.books.room) {
      next.cannot('no_room', this.#refusals.noRoom);
      return;
    }
    if (exchange.originVerdict === 'foreign') {
      next.forbid('foreign_origin', httpErrors.ORIGIN_FORBIDDEN, { origin: shown(exchange.origin) });
      return;
    }
    const { scope, administratorToo } = demand;
    const administers = scope === 'administrator' || administratorToo === true;
    if (administers && this.#isAdministrator(req)) {
      next.asAdministrator();
      return;
    }
    if (scope === 'administrator' && this.#admin.off) {
      next.withoutKey(this.#noAdministrator);
      return;
    }
    const identity = this.#identify(demand, exchange, req);
    if ('refused' in identity) {
      if (identity.refused === 'unknown') next.cannot('failed', this.#refusals.unidentified(identity));
      else if (identity.refused === 'key' && !administers && this.#isAdministrator(req))
        next.forbid('scope', accessErrors.KEY_FORBIDDEN, { reason: NOT_FOR_USERS });
      else if (scope !== 'administrator') next.withoutKey(identity);
      else next.withoutKey(showsNoKey(identity) ? this.#noAdministrator : this.#wrongAdministrator);
      return;
    }
    const { user, key, signed } = identity;
    exchange.user = user;
    exchange.key = key;
    exchange.administrator = administers && !this.#admin.off && key.scopes.includes('admin');
    const needed = scope === 'administrator' ? 'admin' : scope;
    if (!user.active) next.forbid('inactive_user', gatewayErrors.USER_INACTIVE, {});
    else if (!exchange.administrator && !key.scopes.includes(needed))
      next.forbid('scope', gatewayErrors.SCOPE_MISSING, { scope: needed });
    else if (!signed && !mayComeFrom(user, key, exchange.address))
      next.forbid('network', gatewayErrors.NETWORK_FORBIDDEN, { address: exchange.address });
    else next.withKey(windows.ofKey(user, key));
  }

  #identify({ signed }: Demand, { method, path, query }: OpenExchange, req: HttpRequest): Identity | Unidentified {
    const apiKey = req.getHeader(API_KEY);
    return this.#parts.identifier.identify({
      method,
      path,
      query,
      signable: signed === true,
      apiKey,
      // A key that is shown first counts.
      authorization: apiKey === '' ? req.getHeader(AUTHORIZATION) : '',
    });
  }

  #isAdministrator(req: HttpRequest): boolean {
    return !this.#admin.off && this.#admin.matches(bearerOf(req.getHeader(AUTHORIZATION)));
  }
}

/** No administrator comes with a signed URL. */
const showsNoKey = ({ refused }: Unidentified): boolean => refused === 'none' || refused === 'signature';

const noAdministrator = (reason: string): Unidentified => ({
  refused: 'none',
  error: accessErrors.KEY_REQUIRED,
  fields: { reason: `this route is for administrators${reason}` },
});

/** One request that has shown who it is, or has not. */
class Entry {
  readonly #parts: GuardParts;
  readonly #refusals: Refusals;
  readonly #demand: Demand;
  readonly #handler: ExchangeHandler;
  readonly #exchange: OpenExchange;
  readonly #req: HttpRequest;
  readonly #at: MountedRoute;

  constructor(
    parts: GuardParts,
    refusals: Refusals,
    demand: Demand,
    handler: ExchangeHandler,
    exchange: OpenExchange,
    req: HttpRequest,
    at: MountedRoute,
  ) {
    this.#parts = parts;
    this.#refusals = refusals;
    this.#demand = demand;
    this.#handler = handler;
    this.#exchange = exchange;
    this.#req = req;
    this.#at = at;
  }

  /** 401 while the address has some left, then 429. */
  withoutKey(whose: Unidentified): void {
    this.#take(this.#parts.windows.ofAddress(this.#exchange.address), () =>
      this.#exchange.refuse(outcomeOf[whose.refused], this.#refusals.unidentified(whose)),
    );
  }

  asAdministrator(): void {
    this.#exchange.administrator = true;
    this.#lookAtAddress();
    this.#handle(this.#req);
  }

  /** What is refused for a while, whoever asks, counts against nobody. */
  cannot(outcome: Outcome, refusal: Refusal): void {
    this.#lookAtAddress();
    this.#exchange.refuse(outcome, refusal);
  }

  /** 403 while the address has some left, then 429. The limits of the user, whose key it may be, are not touched. */
  forbid<F extends object>(outcome: Outcome, error: ErrorMaker<string, F>, fields: F): void {
    this.#take(this.#parts.windows.ofAddress(this.#exchange.address), () =>
      this.#exchange.refuse(outcome, refusalOf(problemOf(error, fields))),
    );
  }

  #lookAtAddress(): void {
    const { windows, limiter } = this.#parts;
    const ofAddress = windows.ofAddress(this.#exchange.address);
    this.#exchange.limited(ofAddress, limiter.look(ofAddress));
  }

  withKey(windows: readonly Window[]): void {
    this.#take(windows, (req) => {
      if (this.#demand.outsideQuota === true || this.#exchange.administrator) {
        this.#handle(req);
        return;
      }
      const { quotas } = this.#parts.front;
      const reserved = quotas.reserve(this.#exchange.user!);
      if (reserved === undefined) {
        this.#exchange.refuse('failed', refusalOf(problemOf(gatewayErrors.USAGE_UNKNOWN, {})));
        return;
      }
      if ('which' in reserved) {
        const { which, limit, used, resetAtMs } = reserved;
        const resetAt = new Date(resetAtMs).toISOString();
        const retryAfterS = Math.max(1, Math.ceil((resetAtMs - this.#parts.front.now()) / 1000));
        this.#exchange.refuse(
          'quota',
          refusalOf(problemOf(gatewayErrors.QUOTA_EXCEEDED, { which, limit, used, resetAt, retryAfterS })),
        );
        return;
      }
      this.#exchange.reserved(reserved);
      this.#handle(req);
    });
  }

  /** Goes on when the windows let it. */
  #take(windows: readonly Window[], then: (req: HttpRequest) => void): void {
    const verdict = this.#parts.limiter.take(windows);
    if (!(verdict instanceof Promise)) {
      this.#judge(windows, verdict, this.#req, then);
      return;
    }
    const exchange = this.#exchange;
    const kept = keepRequest(this.#req, this.#at);
    if (this.#demand.takesBody === true) exchange.hold();
    verdict.then(
      (judged) => {
        if (exchange.open) exchange.enter(() => this.#judge(windows, judged, kept, then));
      },
      (error: unknown) => exchange.fail(error),
    );
  }

  #judge(
    windows: readonly Window[],
    verdict: Verdict | undefined,
    req: HttpRequest,
    then: (req: HttpRequest) => void,
  ): void {
    this.#exchange.limited(windows, verdict);
    if (verdict === undefined || verdict.allowed) {
      then(req);
      return;
    }
    const retryAfterS = Math.max(1, Math.ceil(verdict.retryAfterMs / 1000));
    const { policy } = verdict.window;
    this.#exchange.refuse('limited', this.#refusals.limited(policy, retryAfterS));
  }

  #handle(req: HttpRequest): void {
    const exchange = this.#exchange;
    try {
      const result = this.#handler(exchange, req);
      if (result instanceof Promise) result.catch((error: unknown) => exchange.fail(error));
    } catch (error) {
      exchange.fail(error);
    }
  }
}
