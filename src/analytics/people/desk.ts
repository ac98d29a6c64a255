/**
 * Desk: answers the questions of the routes about people; one per process, in the worker `people`. So the limits on
 * attempts are exact over all acceptor threads; several processes have limits of their own.
 *
 *   look     each request asks it. What was found is believed for FRESH_MS, so that what is revoked in any process is
 *            refused in all of them about a second later
 *   login    limits by network and by account, then the password by scrypt, also for a name that nobody has
 *   unlock   the same for the password of a share link
 *
 * An attempt that succeeds is given back. An account that is attacked from many networks lets nobody in while it lasts:
 * that is the price of a bound on guesses; sessions that exist go on.
 */

import { accessErrors } from '../../access/errors.ts';
import { type Passwords, passwordProblem } from '../../access/password.ts';
import { networkOf, RateLimit } from '../../access/rate-limit.ts';
import { isToken, tokenDigest } from '../../access/token.ts';
import { shown } from '../../http/answer.ts';
import { RingmainError } from '../../kernel/errors.ts';
import type { Logger } from '../../kernel/log.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { LinkPool } from '../../store/postgres/pool.ts';
import type { MadeShare, Me, NewShare, Share, SharesAnswer } from '../api/contract.ts';
import { analyticsErrors } from '../errors.ts';
import { type AuditAction, audit } from './audit.ts';
import type { LoggedIn, Looked, LookQuestion, PeopleQuestion } from './questions.ts';
import { endSession, findAccount, findSession, openSession } from './sessions.ts';
import {
  addShare,
  type FoundShare,
  findShare,
  hasSite,
  isUnlocked,
  listShares,
  removeShare,
  SHARE_LABEL_MAX,
  type ShareRow,
  unlockedValue,
} from './shares.ts';
import { countUsers } from './users.ts';

const FRESH_MS = 1000;
/** Answers of the last second. */
const FRESH_MAX = 10_000;
/** Failed attempts from one network: twenty at once, then one every 15 seconds. */
const BY_NETWORK = { burst: 20, intervalMs: 15_000 };
/** On one account or link: ten at once, then one every 30 seconds. */
const BY_ACCOUNT = { burst: 10, intervalMs: 30_000 };

export interface DeskOptions {
  readonly link: LinkPool;
  readonly passwords: Passwords;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  /** LOGIN_MAX_AGE */
  readonly maxAgeMs: number;
  /** LOGIN_IDLE */
  readonly idleMs: number;
  /** A clock that is never set. */
  readonly nowMs: () => number;
}

/** What was found lately, by name. */
class Fresh<T> {
  readonly #held = new Map<string, { readonly value: T; readonly untilMs: number }>();

  async get(name: string, nowMs: number, find: () => Promise<T>): Promise<T> {
    const held = this.#held.get(name);
    if (held !== undefined && held.untilMs > nowMs) return held.value;
    const value = await find();
    this.#held.delete(name);
    if (this.#held.size >= FRESH_MAX) this.#held.delete(this.#held.keys().next().value!);
    this.#held.set(name, { value, untilMs: nowMs + FRESH_MS });
    return value;
  }

  forget(name: string): void {
    this.#held.delete(name);
  }
}

export class Desk {
  readonly #options: DeskOptions;
  readonly #networks = new RateLimit(BY_NETWORK);
  readonly #accounts = new RateLimit(BY_ACCOUNT);
  readonly #people = new Fresh<Me | null>();
  readonly #shares = new Fresh<FoundShare | undefined>();
  readonly #users = new Fresh<boolean>();

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  /** Rejects with what the client is to be told. */
  async answer(question: PeopleQuestion): Promise<unknown> {
    try {
      return await this.#answer(question);
    } catch (error) {
      // What the tool is told, a client is told as well.
      if (error instanceof RingmainError && error.kind === analyticsErrors.SITE_REFUSED.kind)
        throw analyticsErrors.CHANGE_REFUSED({ reason: error.message });
      throw error;
    }
  }

  #answer(question: PeopleQuestion): Promise<unknown> {
    switch (question.what) {
      case 'look':
        return this.#look(question);
      case 'login':
        return this.#login(question);
      case 'logout':
        return this.#logout(question);
      case 'unlock':
        return this.#unlock(question);
      case 'shares':
        return this.#listShares(question.siteId);
      case 'addShare':
        return this.#addShare(question);
      case 'removeShare':
        return this.#removeShare(question);
    }
  }

  async #look({ session, share, unlocked }: LookQuestion): Promise<Looked> {
    const { link, idleMs, nowMs } = this.#options;
    const now = nowMs();
    const anybody = await this.#users.get('', now, () => link.use(async (one) => (await countUsers(one)) > 0));
    const me = isToken(session)
      ? await this.#people.get(keyOf(session), now, () =>
          link.use(async (one) => {
            const found = await findSession(one, session, idleMs);
            return found === undefined ? null : { user: found.user, role: found.role };
          }),
        )
      : null;
    const found = share === '' ? undefined : await this.#share(share);
    return {
      anybody,
      me,
      share:
        found === undefined ? null : { site: found.site, names: found.names, locked: !isUnlocked(found, unlocked) },
    };
  }

  async #share(token: string): Promise<FoundShare | undefined> {
    const { link, nowMs } = this.#options;
    if (!isToken(token)) return undefined;
    return this.#shares.get(keyOf(token), nowMs(), () => link.use((one) => findShare(one, token)));
  }

  async #login({ user, password, address }: PeopleQuestion & { what: 'login' }): Promise<LoggedIn> {
    const { link, passwords, log, maxAgeMs } = this.#options;
    const account = `user ${user.toLowerCase()}`;
    this.#take(account, address);
    const found = await link.use((one) => findAccount(one, user));
    if (await passwords.matches(password, found?.password)) {
      const rehashed = passwords.needsRehash(found!.password) ? await passwords.hash(password) : undefined;
      const token = await link.use((one) => openSession(one, { account: found!, maxAgeMs, address, rehashed }));
      if (token !== undefined) {
        this.#giveBack(account, address);
        log.info({ user: found!.user, role: found!.role }, 'a user has logged in');
        return { token, me: { user: found!.user, role: found!.role } };
      }
    }
    await this.#failed('login_failed', found?.user ?? null, address);
    throw accessErrors.LOGIN_FAILED();
  }

  async #failed(action: AuditAction, subject: string | null, address: string): Promise<void> {
    this.#options.log.warn(
      { subject: subject ?? 'unknown' },
      action === 'login_failed' ? 'a login failed' : 'an unlock failed',
    );
    await this.#options.link.use((one) => audit(one, { action, subject, address }));
  }

  async #logout({ session, address }: PeopleQuestion & { what: 'logout' }): Promise<void> {
    if (!isToken(session)) return;
    await this.#options.link.use((one) => endSession(one, session, address));
    this.#people.forget(keyOf(session));
  }

  /** The value of the link's cookie. */
  async #unlock({ share, password, address }: PeopleQuestion & { what: 'unlock' }): Promise<string> {
    const { link, passwords } = this.#options;
    const found = isToken(share) ? await link.use((one) => findShare(one, share)) : undefined;
    if (found === undefined) {
      this.#takeOne(this.#networks, networkOf(address), 'address');
      throw accessErrors.SHARE_INVALID();
    }
    if (found.password === null) return unlockedValue(found);
    const name = `share ${found.id}`;
    const subject = `${found.names[0]}: ${found.id}`;
    this.#take(name, address);
    if (!(await passwords.matches(password, found.password))) {
      await this.#failed('share_unlock_failed', subject, address);
      throw accessErrors.SHARE_PASSWORD();
    }
    this.#giveBack(name, address);
    await link.use((one) => audit(one, { action: 'share_unlocked', subject, address }));
    return unlockedValue(found);
  }

  async #listShares(siteId: string): Promise<SharesAnswer> {
    return { shares: (await this.#ofSite(siteId, (one) => listShares(one, siteId))).map(shareOf) };
  }

  async #addShare({ siteId, settings: asked, actor }: PeopleQuestion & { what: 'addShare' }): Promise<MadeShare> {
    const { passwords } = this.#options;
    const { label, password, expiresAt } = readShare(asked);
    const digest = password === undefined ? undefined : await passwords.hash(password);
    const settings = { label, password: digest, expiresAt, actor };
    const made = await this.#ofSite(siteId, (one) => addShare(one, siteId, settings));
    return { ...shareOf(made), token: made.token };
  }

  /** Whether there was such a link. */
  async #removeShare({ siteId, id, actor }: PeopleQuestion & { what: 'removeShare' }): Promise<boolean> {
    return (await this.#ofSite(siteId, (one) => removeShare(one, id, { name: siteId, actor }))) !== undefined;
  }

  #ofSite<T>(siteId: string, work: (link: PostgresLink) => Promise<T>): Promise<T> {
    return this.#options.link.use(async (one) => {
      if (await hasSite(one, siteId)) return work(one);
      throw analyticsErrors.NO_SITE({ site: shown(siteId) });
    });
  }

  #take(account: string, address: string): void {
    this.#takeOne(this.#networks, networkOf(address), 'address');
    this.#takeOne(this.#accounts, account, 'account');
  }

  #takeOne(limit: RateLimit, name: string, by: string): void {
    const waitMs = limit.take(name, this.#options.nowMs());
    if (waitMs > 0) throw accessErrors.TOO_MANY_ATTEMPTS({ by, retryAfterS: Math.ceil(waitMs / 1000) });
  }

  #giveBack(account: string, address: string): void {
    this.#networks.giveBack(networkOf(address));
    this.#accounts.giveBack(account);
  }
}

/** No token stays in memory for longer than its question. */
const keyOf = (token: string): string => tokenDigest(token).toString('base64');

const shareOf = ({ share_id, label, created_at, expires_at, locked }: ShareRow): Share => ({
  id: share_id,
  label,
  created_at: created_at.toISOString(),
  expires_at: expires_at?.toISOString() ?? null,
  locked,
});

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/;

/** Throws BAD_PARAMETER. Each is a text or undefined: the route has seen to that. */
function readShare({ label = '', password, expires_at }: NewShare) {
  const wrong = (parameter: string, must: string, found: string) =>
    analyticsErrors.BAD_PARAMETER({ parameter, must, found });
  if ([...label].length > SHARE_LABEL_MAX || /\p{Cc}/u.test(label))
    throw wrong(
      'label',
      `have at most ${SHARE_LABEL_MAX} characters, none of them a control character`,
      'another text',
    );
  const problem = password === undefined ? undefined : passwordProblem(password);
  if (problem !== undefined) throw wrong('password', `be of a length that is hard to guess (${problem})`, 'another');
  const expires = expires_at === undefined ? undefined : TIME.test(expires_at) ? Date.parse(expires_at) : Number.NaN;
  if (Number.isNaN(expires)) throw wrong('expires_at', 'be a time of RFC 3339', expires_at?.slice(0, 100) ?? '');
  return { label, password, expiresAt: expires === undefined ? undefined : new Date(expires) };
}
