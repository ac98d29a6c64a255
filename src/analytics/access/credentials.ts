/**
 * Credentials of a request, read inside its handler, and what a refusal says. A key stands in one of three places, the
 * first that has one counts; nothing logs it:
 *
 *   Authorization: Bearer KEY     X-API-Key: KEY     ?key=KEY, for beacons and images, which send no headers
 */
import type { HttpRequest } from 'uWebSockets.js';
import { accessErrors } from '../../access/errors.ts';
import type { RefusalCode } from '../../events/batch-result.ts';
import { shown } from '../../http/answer.ts';

import type { RingmainError } from '../../kernel/errors.ts';
import { analyticsErrors } from '../errors.ts';
import type { SiteGrant } from '../intake/origin.ts';
import type { Credentials, SiteGuard, Verdict } from './site-guard.ts';

const BEARER = /^bearer +/i;
const ORIGIN = /^https?:\/\/[^/?#]+/i;

/** '' for none. */
export function keyOf(req: HttpRequest): string {
  const authorization = req.getHeader('authorization');
  if (authorization !== '' && BEARER.test(authorization)) return authorization.replace(BEARER, '').trimEnd();
  return req.getHeader('x-api-key') || req.getQuery('key') || '';
}

/** The origin of the page that sends; '' when the request names none. */
export function originOf(req: HttpRequest): string {
  const origin = req.getHeader('origin');
  return origin === '' ? (ORIGIN.exec(req.getHeader('referer'))?.[0].toLowerCase() ?? '') : origin;
}

/**
 * Which sites the events of one request may be of. Undefined: all of them, without a look at its headers. A request has
 * events of few sites, mostly of one: the last verdict is kept.
 */
export function grantOf(guard: SiteGuard, req: HttpRequest): EventGrant | undefined {
  return guard.open ? undefined : new EventGrant(guard, { key: keyOf(req), origin: originOf(req) });
}

export class EventGrant implements SiteGrant {
  readonly #guard: SiteGuard;
  readonly #credentials: Credentials;
  #siteId = '';
  #verdict: Verdict | undefined;

  constructor(guard: SiteGuard, credentials: Credentials) {
    this.#guard = guard;
    this.#credentials = credentials;
  }

  admits(siteId: string): boolean {
    return this.verdict(siteId) === 'ok';
  }

  retentionDays(siteId: string): number {
    return this.#guard.retentionDays(siteId);
  }

  verdict(siteId: string): Verdict {
    if (this.#verdict === undefined || siteId !== this.#siteId) {
      this.#siteId = siteId;
      this.#verdict = this.#guard.ingest(siteId, this.#credentials);
    }
    return this.#verdict;
  }

  refusal(siteId: string): { readonly code: RefusalCode; readonly message: string } {
    const verdict = this.verdict(siteId);
    if (verdict === 'ok') throw new TypeError('only a site that is not admitted has a refusal');
    const about = { siteId, origin: this.#credentials.origin, scope: 'ingest' } as const;
    const { code, message } = refusal(verdict, about);
    return { code, message };
  }
}

interface About {
  readonly siteId: string;
  readonly origin: string;
  readonly scope: 'ingest' | 'read';
}

/** The error of a refusal. */
export function refusal(verdict: Exclude<Verdict, 'ok'>, { siteId, origin, scope }: About): RingmainError<RefusalCode> {
  const site = shown(siteId);
  switch (verdict) {
    case 'unread':
      return accessErrors.ACCESS_UNKNOWN();
    case 'unknown_site':
      return analyticsErrors.SITE_UNKNOWN({ site });
    case 'origin':
      return analyticsErrors.SITE_ORIGIN({ site, origin: shown(origin) || 'none' });
    case 'key_required':
      return accessErrors.KEY_REQUIRED({
        reason: `a key with the scope ${scope} must be sent as Authorization: Bearer or X-API-Key: site=${site}`,
      });
    case 'key_invalid':
      return accessErrors.KEY_INVALID();
    case 'key_forbidden':
      return accessErrors.KEY_FORBIDDEN({
        reason: `the key must be of this site and have the scope ${scope}: site=${site}`,
      });
  }
}

/** `permit` of GET /stats and /reconcile: throws the refusal. Reads the request at once. */
export function permitReads(guard: SiteGuard): (req: HttpRequest, siteId: string) => void {
  return (req, siteId) => {
    const verdict = guard.open ? 'ok' : guard.read(siteId, keyOf(req));
    if (verdict !== 'ok') throw refusal(verdict, { siteId, origin: '', scope: 'read' });
  };
}
