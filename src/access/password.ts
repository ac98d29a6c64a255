/**
 * Password: what is kept of it, and the check. scrypt (RFC 7914) by node:crypto, in the thread pool of libuv; a worker
 * calls it and never an acceptor thread.
 *
 *   $scrypt$ln=15,r=8,p=3$<salt>$<digest>      the PHC string format: base64 without padding, ln = log2(N)
 *
 * Parameters are one of the equal minima of OWASP's Password Storage Cheat Sheet (2^17/8/1, 2^16/8/2, 2^15/8/3...): the
 * one of 32 MiB, because an event collector whose container has 256 MiB must survive that people log in. A digest that
 * was made with others is checked with them, and made anew when its owner logs in (`needsRehash`).
 *
 * Bounded: CONCURRENT derivations run, QUEUED wait, more are refused. Parameters of a stored digest are bounded as
 * well.
 */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { accessErrors } from './errors.ts';

export interface ScryptCost {
  /** log2(N) */
  readonly ln: number;
  readonly r: number;
  readonly p: number;
}
export const currentCost: ScryptCost = { ln: 15, r: 8, p: 3 };
/** 128 bytes x N x r of the dearest digest that is checked. */
const MEMORY_MAX = 256 * 1024 * 1024;
const PARALLEL_MAX = 16;
const SALT = 16;
const DIGEST = 32;

/** NIST SP 800-63B asks for 15 where a password is the only factor; a passphrase of few words has them. */
export const PASSWORD_LENGTH_MIN = 12;
/** Characters. Long enough for every passphrase, short enough that nobody is kept busy by hashing. */
export const PASSWORD_LENGTH_MAX = 256;

/** One core at most is kept from what the process is for, and 32 MiB. */
const CONCURRENT = 1;
const QUEUED = 16;

const PHC = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]{8,128})\$([A-Za-z0-9+/]{16,128})$/;

interface Stored extends ScryptCost {
  readonly salt: Buffer;
  readonly digest: Buffer;
}

/** Undefined: not a digest that this module makes, or one that costs too much. */
function parse(phc: string): Stored | undefined {
  const [, ln, r, p, salt, digest] = PHC.exec(phc) ?? [];
  if (ln === undefined) return undefined;
  const cost = { ln: Number(ln), r: Number(r), p: Number(p) };
  const positive = cost.ln >= 1 && cost.r >= 1 && cost.p >= 1 && cost.p <= PARALLEL_MAX;
  if (!positive || 128 * 2 ** cost.ln * cost.r > MEMORY_MAX) return undefined;
  return { ...cost, salt: Buffer.from(salt!, 'base64'), digest: Buffer.from(digest!, 'base64') };
}

const unpadded = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');

/** What is wrong with a new password; undefined: nothing. */
export function passwordProblem(password: string): string | undefined {
  const { length } = [...password];
  if (length >= PASSWORD_LENGTH_MIN && length <= PASSWORD_LENGTH_MAX) return undefined;
  return `a password must be ${PASSWORD_LENGTH_MIN} to ${PASSWORD_LENGTH_MAX} characters: found=${length}`;
}

/** Whether a digest should be made anew, when the password is at hand. */
export function needsRehash(phc: string, cost: ScryptCost = currentCost): boolean {
  const stored = parse(phc);
  return stored === undefined || stored.ln !== cost.ln || stored.r !== cost.r || stored.p !== cost.p;
}

/** Makes and checks digests; one per thread that does so. */
export class Passwords {
  readonly #cost: ScryptCost;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(cost: ScryptCost = currentCost) {
    this.#cost = cost;
  }

  /** The text that is kept. Rejects with LOGIN_BUSY when too many wait. */
  async hash(password: string): Promise<string> {
    const { ln, r, p } = this.#cost;
    const salt = randomBytes(SALT);
    const digest = await this.#derive(password, salt, DIGEST, this.#cost);
    return `$scrypt$ln=${ln},r=${r},p=${p}$${unpadded(salt)}$${unpadded(digest)}`;
  }

  /**
   * Whether it is the password. `phc` undefined: there is nobody of that name; then a digest is computed all the same,
   * so that the answer takes as long, and it is false.
   */
  async matches(password: string, phc: string | undefined): Promise<boolean> {
    const known = phc === undefined ? undefined : parse(phc);
    const stored = known ?? { ...this.#cost, salt: randomBytes(SALT), digest: randomBytes(DIGEST) };
    const found = await this.#derive(password, stored.salt, stored.digest.length, stored);
    return timingSafeEqual(found, stored.digest) && known !== undefined;
  }

  needsRehash(phc: string): boolean {
    return needsRehash(phc, this.#cost);
  }

  async #derive(password: string, salt: Buffer, length: number, { ln, r, p }: ScryptCost): Promise<Buffer> {
    // The same text may be typed as one character or as two: NFKC, as RFC 8265 has it for passwords in essence.
    const text = password.normalize('NFKC');
    if (this.#running >= CONCURRENT) {
      if (this.#waiting.length >= QUEUED) throw accessErrors.LOGIN_BUSY();
      await new Promise<void>((turn) => this.#waiting.push(turn));
    } else this.#running += 1;
    try {
      const options: ScryptOptions = { N: 2 ** ln, r, p, maxmem: 128 * 2 ** ln * r + 128 * r * (p + 2) + 1024 * 1024 };
      return await new Promise<Buffer>((resolve, reject) =>
        scrypt(text, salt, length, options, (error, derived) => (error === null ? resolve(derived) : reject(error))),
      );
    } finally {
      // Whoever waits longest takes the place over.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
