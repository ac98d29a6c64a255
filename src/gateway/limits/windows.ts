/**
 * Windows: what a request is limited by. Of a key and its user those of the minute and of the hour; without a valid key
 * that of its address. They stand from the inner to the outer one: whoever has the first has the others, too
 * (access/gcra-table.ts: G3).
 */
import { networkOf } from '../../access/rate-limit.ts';
import type { GatewayKey, GatewayUser, Rates } from '../model.ts';
import type { Window } from './limiter.ts';

const MINUTE_S = 60;
const HOUR_S = 3600;
/** Addresses whose windows are kept. */
const ADDRESSES_MAX = 4096;

export interface WindowOptions {
  readonly ipRequestsPerMinute: number;
  readonly userRequestsPerMinute: number;
}

interface OfKey {
  readonly user: GatewayUser;
  readonly windows: readonly Window[];
}

export class Windows {
  readonly #options: WindowOptions;
  /** The registry makes a new object of what has changed. */
  readonly #ofKeys = new WeakMap<GatewayKey, OfKey>();
  readonly #ofAddresses = new Map<string, readonly Window[]>();

  constructor(options: WindowOptions) {
    this.#options = options;
  }

  ofKey(user: GatewayUser, key: GatewayKey): readonly Window[] {
    const known = this.#ofKeys.get(key);
    if (known?.user === user) return known.windows;
    // A limit of the hour or a burst leaves that of the minute as it is.
    const rates: Rates = { requestsPerMinute: this.#options.userRequestsPerMinute, ...user.rates };
    const windows = [...windowsOf('key', `key:${key.id}`, key.rates), ...windowsOf('user', `user:${user.id}`, rates)];
    this.#ofKeys.set(key, { user, windows });
    return windows;
  }

  ofAddress(address: string): readonly Window[] {
    const known = this.#ofAddresses.get(address);
    if (known !== undefined) return known;
    const limit = this.#options.ipRequestsPerMinute;
    const subject = `ip:${networkOf(address)}`;
    const windows: readonly Window[] = [{ policy: 'ip', subject, limit, windowS: MINUTE_S, burst: limit }];
    if (this.#ofAddresses.size >= ADDRESSES_MAX) this.#ofAddresses.clear();
    this.#ofAddresses.set(address, windows);
    return windows;
  }
}

function windowsOf(who: string, subject: string, rates: Rates): readonly Window[] {
  const { requestsPerMinute, requestsPerHour, burst = Number.POSITIVE_INFINITY } = rates;
  const one = (name: string, limit: number | undefined, windowS: number): readonly Window[] =>
    limit === undefined ? [] : [{ policy: `${who}-${name}`, subject, limit, windowS, burst: Math.min(burst, limit) }];
  return [...one('minute', requestsPerMinute, MINUTE_S), ...one('hour', requestsPerHour, HOUR_S)];
}
