/**
 * Privacy: what is kept of a client address, by IP_MODE, before the record exists.
 *
 *   full      the address
 *   truncate  /24 of IPv4, /48 of IPv6, the rest zero
 *   hash      the first 128 bits of HMAC-SHA-256(salt of the UTC day, address), in hex
 *   none      nothing
 *
 * Salts. With IP_HASH_SECRET the salt of a day is HMAC(secret, day): the same on every host, after every restart.
 * Without it there is a chain: the salt of the next day is a hash of today's, and today's is forgotten. So all threads
 * change over at midnight without a word between them, and nobody can compute yesterday's salt. The newest link lies
 * beside the journal (0600), so that a restart within the day goes on with the same salt. Without the file the chain
 * begins anew.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalAddress, formatParsed, parseAddress, parsed } from '../http/address.ts';

const DAY_MS = 86_400_000;

/** The UTC day of a moment, counted from 1970. */
export function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS);
}

/** A link of the chain; goes to the threads through workerData. */
export interface SaltLink {
  readonly day: number;
  readonly salt: Uint8Array;
}

/** Where salts come from. */
export type SaltSource = { readonly secret: string } | { readonly link: SaltLink };

function nextSalt(salt: Uint8Array): Uint8Array {
  return createHmac('sha256', salt).update('ringmain: next day').digest();
}

/**
 * With more days than this between a link and now the chain begins anew: a clock that jumped must not cost a minute of
 * hashing.
 */
const DAYS_MAX = 3660;

function linkAt(link: SaltLink, day: number): SaltLink {
  if (day <= link.day) return link;
  if (day - link.day > DAYS_MAX) return { day, salt: randomBytes(32) };
  let { salt } = link;
  for (let d = link.day; d < day; d++) salt = nextSalt(salt);
  return { day, salt };
}

const FILE = 'ip-salt';

/** The link of today: continued from the file beside the journal when there is one, and stored there. */
export function loadSaltLink(folder: string | undefined, nowMs: number): SaltLink {
  const day = dayOf(nowMs);
  if (folder === undefined) return { day, salt: randomBytes(32) };
  const file = join(folder, FILE);
  const kept = readLink(file);
  const link = kept === undefined ? { day, salt: randomBytes(32) } : linkAt(kept, day);
  if (kept?.day !== link.day) {
    writeFileSync(`${file}.new`, `${link.day} ${Buffer.from(link.salt).toString('hex')}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  return link;
}

function readLink(file: string): SaltLink | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const match = /^(\d{1,6}) ([0-9a-f]{64})\n$/.exec(text);
  // A torn file counts as none. Hashes of before and after then differ; nothing else depends on a salt.
  return match ? { day: Number(match[1]), salt: Buffer.from(match[2]!, 'hex') } : undefined;
}

const LOOK_EVERY_MS = 60_000;

/**
 * Where this process takes its salts from; undefined: IP_MODE needs none. Main calls it once, so that all threads hash
 * alike, and keeps the file up to date; the threads compute each next link themselves. `journal`: its folder.
 */
export function openSalts(
  { ipMode, ipHashSecret }: { readonly ipMode: IpMode; readonly ipHashSecret?: string | undefined },
  journal: string | undefined,
): SaltSource | undefined {
  if (ipMode !== 'hash') return undefined;
  if (ipHashSecret !== undefined) return { secret: ipHashSecret };
  const link = loadSaltLink(journal, Date.now());
  setInterval(() => loadSaltLink(journal, Date.now()), LOOK_EVERY_MS).unref();
  return { link };
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
  readonly #source: SaltSource;
  #link: SaltLink | undefined;
  #day = Number.NaN;
  #salt: Uint8Array = new Uint8Array(0);
  /** Address to hash, of this day: an HMAC costs as much as the rest of the request. */
  #known = new Map<string, string>();

  constructor(source: SaltSource) {
    this.#source = source;
    this.#link = 'link' in source ? source.link : undefined;
  }

  hash(address: string, nowMs: number): string {
    if (address === '') return '';
    const day = dayOf(nowMs);
    if (day !== this.#day) this.#turn(day);
    const known = this.#known.get(address);
    if (known !== undefined) return known;
    const spelled = canonicalAddress(address);
    const hash = createHmac('sha256', this.#salt).update(spelled).digest('hex').slice(0, 32);
    if (this.#known.size >= HASHES_MAX) this.#known = new Map();
    this.#known.set(address, hash);
    return hash;
  }

  #turn(day: number): void {
    if (this.#link !== undefined) {
      // After a clock has stepped back over midnight the newer salt stays: the older one is forgotten.
      this.#link = linkAt(this.#link, day);
      this.#salt = this.#link.salt;
    } else if ('secret' in this.#source) {
      const date = new Date(day * DAY_MS).toISOString().slice(0, 10);
      this.#salt = createHmac('sha256', this.#source.secret).update(`ringmain: addresses of ${date}`).digest();
    }
    this.#day = day;
    this.#known = new Map();
  }
}
