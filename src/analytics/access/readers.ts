/**
 * Readers: the one place that decides who may see a site on the dashboard and under /api, and who may change something.
 * The first of these that a request has decides:
 *
 *   key         a read key of the site. One that is given must be right
 *   share link  that site, reading only. One that is given must be right, and unlocked where it has a password
 *   ACCESS=open everybody
 *   session     owners and viewers: all sites; owners change
 *   nobody yet  as long as there is no user: who asks from this machine, where the server listens to it alone
 *
 * Changes need an owner's session, a page of ours (access/same-origin.ts) and the session's token in X-CSRF-Token.
 * Where everything is open and there are no users, who may see may change, from a page of ours.
 *
 * "From this machine" is more than the address that the server listens on: the name that was asked for must be one of
 * this machine, or a page could give its own name to 127.0.0.1 and read along (DNS rebinding), and no proxy may have
 * passed the request on.
 */
import type { HttpRequest } from 'uWebSockets.js';
import { accessErrors } from '../../access/errors.ts';
import { isSameOrigin } from '../../access/same-origin.ts';
import { csrfOf, sameText } from '../../access/token.ts';
import { isLoopback } from '../../http/endpoint.ts';
import { RingmainError } from '../../kernel/errors.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { Me } from '../api/contract.ts';
import { type Looked, type LookQuestion, PEOPLE_WORKER } from '../people/questions.ts';
import type { PeopleCookies } from './cookies.ts';
import { keyOf, refusal } from './credentials.ts';
import type { SiteGuard } from './site-guard.ts';

/** Who asks. */
export interface Reader {
  readonly by: 'key' | 'share' | 'open' | 'session' | 'local';
  /** null: nobody is logged in. */
  readonly me: Me | null;
  /** Token of the session; '' for none. */
  readonly session: string;
  /** The one that may be seen; undefined: all. */
  readonly site: ReadableSite | undefined;
}

export interface SiteReader extends Reader {
  /** Whether it may read the site at this moment as well: an answer that lasts asks now and then. */
  still(): Promise<boolean>;
}

export interface ReadableSite {
  /** Its number. */
  readonly site: number;
  /** All that lead to it. */
  readonly names: readonly string[];
}

/** Whose list of sites it is: all, or those with these numbers. */
export interface Visible {
  readonly me: Me | null;
  readonly sites: readonly number[] | undefined;
}

/** What the routes of the API need. */
export type ReadAccess = Pick<Readers, 'mayRead' | 'permit' | 'mayChange' | 'visible'>;

/** What a request has, read inside its handler. */
interface Shown {
  readonly key: string;
  readonly share: string;
  readonly unlocked: string;
  readonly session: string;
  readonly local: boolean;
}

export interface ReadersDeps extends Pick<AcceptorFrame, 'ask'> {
  readonly guard: Pick<SiteGuard, 'readable'>;
  /** ACCESS */
  readonly access: 'keys' | 'open';
  /** SERVER_ADDR */
  readonly address: string;
  readonly cookies: PeopleCookies;
}

const ASK_MS_MAX = 5000;

const LOCAL_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;
const PASSED_ON = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'] as const;

export class Readers {
  readonly #deps: ReadersDeps;
  readonly #loopback: boolean;

  constructor(deps: ReadersDeps) {
    this.#deps = deps;
    this.#loopback = isLoopback(deps.address);
  }

  /** Who asks; undefined: somebody who may see nothing. Reads the request at once. Rejects for a wrong key or link. */
  reader(req: HttpRequest): Promise<Reader | undefined> {
    return this.#readerOf(this.#shown(req));
  }

  /** Resolves when the request may read the site, else rejects with what the client is to be told. Reads it at once. */
  mayRead(req: HttpRequest, siteId: string): Promise<SiteReader> {
    return this.permit(req)(siteId);
  }

  /** The same where the site stands in the body: reads the request at once, and decides when the site is known. */
  permit(req: HttpRequest): (siteId: string) => Promise<SiteReader> {
    const shown = this.#shown(req);
    return async (siteId) => {
      const reader = await this.#readerOfSite(shown, siteId);
      const still = async (): Promise<boolean> => {
        try {
          await this.#readerOfSite(shown, siteId);
          return true;
        } catch (error) {
          // A database that is away says nothing about it.
          return !(error instanceof RingmainError && (error.status === 401 || error.status === 403));
        }
      };
      return { ...reader, still };
    };
  }

  async #readerOfSite(shown: Shown, siteId: string): Promise<Reader> {
    const reader = await this.#readerOf(shown);
    if (reader === undefined) throw loginRequired();
    if (reader.site === undefined || reader.site.names.includes(siteId)) return reader;
    if (reader.by === 'share') throw accessErrors.SHARE_INVALID();
    throw refusal('key_forbidden', { siteId, origin: '', scope: 'read' });
  }

  /** Which sites the request may see. Rejects for who may see none. Reads it at once. */
  async visible(req: HttpRequest): Promise<Visible> {
    const reader = await this.#readerOf(this.#shown(req));
    if (reader === undefined) throw loginRequired();
    return { me: reader.me, sites: reader.site === undefined ? undefined : [reader.site.site] };
  }

  /** Resolves for an owner, and where everything is open and there are no users. Reads the request at once. */
  async mayManage(req: HttpRequest): Promise<Reader> {
    const { session, local } = this.#shown(req);
    const { anybody, me } = await this.#look({ session, share: '', unlocked: '' });
    if (me?.role === 'owner') return { by: 'session', me, session, site: undefined };
    if (me !== null)
      throw accessErrors.ROLE_FORBIDDEN({ reason: `only an owner may do this: user=${me.user}, role=${me.role}` });
    if (anybody || !(this.everybody || local)) throw loginRequired();
    return { by: local ? 'local' : 'open', me, session: '', site: undefined };
  }

  /** As mayManage(), for what changes something: a site's settings, goals, share links. */
  async mayChange(req: HttpRequest): Promise<Reader> {
    mustBeOurs(req);
    const csrf = req.getHeader('x-csrf-token');
    const reader = await this.mayManage(req);
    if (reader.me !== null && !sameText(csrf, csrfOf(reader.session)))
      throw accessErrors.FORGED_REQUEST({ reason: 'X-CSRF-Token must be the value that GET /api/me gives' });
    return reader;
  }

  /** ACCESS=open */
  get everybody(): boolean {
    return this.#deps.access === 'open';
  }

  #shown(req: HttpRequest): Shown {
    const { cookies } = this.#deps;
    const share = req.getQuery('share') ?? '';
    return {
      key: keyOf(req),
      share,
      unlocked: share === '' ? '' : cookies.unlocked(req, share),
      session: cookies.session(req),
      local:
        this.#loopback &&
        LOCAL_HOST.test(req.getHeader('host')) &&
        PASSED_ON.every((name) => req.getHeader(name) === ''),
    };
  }

  async #readerOf({ key, share, unlocked, session, local }: Shown): Promise<Reader | undefined> {
    const { access, guard } = this.#deps;
    const none = { me: null, session: '', site: undefined };
    if (key !== '' && access !== 'open') {
      const site = guard.readable(key);
      if (typeof site === 'string') throw refusal(site, { siteId: 'any', origin: '', scope: 'read' });
      return { ...none, by: 'key', site };
    }
    // Nobody has to look who it is, and an open dashboard works while it cannot be looked up.
    if (access === 'open' && share === '' && session === '') return { ...none, by: 'open' };
    const looked = await this.#look({ session, share, unlocked });
    if (share !== '') {
      if (looked.share === null) throw accessErrors.SHARE_INVALID();
      if (looked.share.locked) throw accessErrors.SHARE_LOCKED();
      return { ...none, by: 'share', site: looked.share };
    }
    const { me } = looked;
    if (me !== null) return { by: 'session', me, session, site: undefined };
    if (access === 'open') return { ...none, by: 'open' };
    return local && !looked.anybody ? { ...none, by: 'local' } : undefined;
  }

  async #look(shown: Omit<LookQuestion, 'what'>): Promise<Looked> {
    const question: LookQuestion = { what: 'look', ...shown };
    return (await this.#deps.ask(PEOPLE_WORKER, question, ASK_MS_MAX, 'reads')) as Looked;
  }
}

const loginRequired = (): Error =>
  accessErrors.LOGIN_REQUIRED({
    reason: 'a session is needed (POST /api/login), or a read key of the site, or a share link',
  });

/** Throws FORGED_REQUEST for a request that a page of another origin has made. */
export function mustBeOurs(req: HttpRequest): void {
  const provenance = {
    fetchSite: req.getHeader('sec-fetch-site'),
    origin: req.getHeader('origin'),
    host: req.getHeader('host'),
  };
  if (!isSameOrigin(provenance))
    throw accessErrors.FORGED_REQUEST({ reason: 'a change must be asked for by a page of this service' });
}
