/**
 * Privacy: what is kept of a client address, by IP_MODE, before the record exists.
 *
 *   full      the address
 *   truncate  /24 of IPv4, /48 of IPv6, the rest zero
 *   hash      the first 128 bits of HMAC-SHA-256(salt of the UTC day, address), in hex
 *   none      nothing
 *
 * Salts. With IP_HASH_SECRET the salt of a day is HMAC(secret, day): the same on every host, after every restart, and
 * again when a clock is set back to that day. Without it there is a chain of salts (salts.ts).
 */
import { createHmac } from 'node:crypto';
import { canonicalAddress, formatParsed, parseAddress, parsed } from '../http/address.ts';
import type { Logger } from '../kernel/log.ts';
import { DAY_MS, dayOf, SaltReader, startSaltChain } from './salts.ts';

/** Where salts come from; goes to the threads through workerData. `chain`: memory of a SaltChain. */
export type SaltSource = { readonly secret: string } | { readonly chain: SharedArrayBuffer };

/**
 * Where this process takes its salts from; undefined: IP_MODE needs none. Main calls it once. `journal`: its folder.
 */
export function openSalts(
  { ipMode, ipHashSecret }: { readonly ipMode: IpMode; readonly ipHashSecret?: string | undefined },
  journal: string | undefined,
  log: Logger,
): SaltSource | undefined {
  if (ipMode !== 'hash') return undefined;
  return ipHashSecret === undefined ? { chain: startSaltChain(journal, log) } : { secret: ipHashSecret };
}

export type IpMode = 'full' | 'truncate' | 'hash' | 'none';

/** What IP_MODE leaves of an address in its one spelling; '' for ''. */
export type IpFilter = (address: string, nowMs: number) => string;

export function ipFilter(mode: IpMode, salts: SaltSource | undefined): IpFilter {
  switch (mode) {
    case 'full':
      return (address) => address;
    case 'none':
      return () => '';
    case 'truncate':
      return truncate;
    case 'hash': {
      if (salts === undefined) throw new TypeError('IP_MODE=hash must have a source of salts');
      const hasher = new IpHasher(salts);
      return (address, nowMs) => hasher.hash(address, nowMs);
    }
  }
}

function truncate(address: string): string {
  if (address === '') return '';
  const length = parseAddress(address);
  if (length === 4) parsed[3] = 0;
  else parsed.fill(0, 6);
  return formatParsed(length);
}

const HASHES_MAX = 10_000;

class IpHasher {
  readonly #secret: string;
  readonly #chain: SaltReader | undefined;
  /** UTC day, or turn of the chain, that the salt belongs to. */
  #turn = Number.NaN;
  #salt: Uint8Array = new Uint8Array(0);
  /** Address to hash, by this salt: an HMAC costs as much as the rest of the request. */
  #known = new Map<string, string>();

  constructor(source: SaltSource) {
    this.#secret = 'secret' in source ? source.secret : '';
    this.#chain = 'chain' in source ? new SaltReader(source.chain) : undefined;
  }

  hash(address: string, nowMs: number): string {
    if (address === '') return '';
    const turn = this.#chain === undefined ? dayOf(nowMs) : this.#chain.turn;
    if (turn !== this.#turn) this.#renew(turn);
    const known = this.#known.get(address);
    if (known !== undefined) return known;
    const spelled = canonicalAddress(address);
    const hash = createHmac('sha256', this.#salt).update(spelled).digest('hex').slice(0, 32);
    if (this.#known.size >= HASHES_MAX) this.#known = new Map();
    this.#known.set(address, hash);
    return hash;
  }

  #renew(turn: number): void {
    if (this.#chain === undefined) {
      const date = new Date(turn * DAY_MS).toISOString().slice(0, 10);
      this.#salt = createHmac('sha256', this.#secret).update(`ringmain: addresses of ${date}`).digest();
      this.#turn = turn;
    } else ({ turn: this.#turn, salt: this.#salt } = this.#chain.read());
    this.#known = new Map();
  }
}
