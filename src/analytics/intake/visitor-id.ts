/**
 * Visitor id: who sent an event without a user id, for one UTC day:
 *
 *   the first 128 bits of HMAC-SHA-256(salt of the day, day | address | user agent | site), in hex
 *
 * The day is that of the event's timestamp, so that an id never stands on two days.
 *
 *   today, yesterday, tomorrow   the salt on the board (salts-board.ts). Without one (the registry worker has not
 *                                started, or is gone over midnight): a random salt of this thread
 *   other days                   a random salt of the request: its events of one day have one visitor, whom no other
 *                                request can be
 *
 * A salt, and the cache of the ids that were made by it, is forgotten when its day has been over for 24 hours. Address
 * and user agent leave this file as a hash only.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { BoundedCache } from '../../visitor/enrich.ts';
import { dayOf } from '../dimensions.ts';
import { type DaySalt, SALT_BYTES, SaltsBoard } from './salts-board.ts';

/** Entries of the cache of each day. */
const IDS_MAX = 20_000;
/** Longer keys are not cached: what a client sends must not decide how much memory the cache takes. */
const KEY_CHARS_MAX = 700;
const HEX_CHARS = 32;

export interface VisitorIdMeters {
  /** Ids that were made by a salt that the other processes do not have. */
  readonly unshared: { add(count: number): void };
}

interface Day extends DaySalt {
  readonly ids: BoundedCache<string>;
}

/** One per acceptor. */
export class VisitorIds {
  readonly #board: SaltsBoard;
  readonly #meters: VisitorIdMeters;
  #turn = Number.NaN;
  #today = Number.NaN;
  #days: readonly Day[] = [];

  constructor(memory: SharedArrayBuffer, meters: VisitorIdMeters) {
    this.#board = new SaltsBoard(memory);
    this.#meters = meters;
  }

  /** Forgets what is too old, also while no request comes: called now and then. */
  look(nowMs: number): void {
    const today = dayOf(nowMs);
    const { turn } = this.#board;
    if (today === this.#today && turn === this.#turn) return;
    this.#today = today;
    this.#renew();
  }

  /** Whether the day has a salt that outlives the request. */
  isCurrent(day: number, nowMs: number): boolean {
    const today = dayOf(nowMs);
    return day >= today - 1 && day <= today + 1;
  }

  /** 32 hex digits. `day` is one that isCurrent() now. */
  find(siteId: string, day: number, address: string, userAgent: string, nowMs: number): string {
    this.look(nowMs);
    const known = this.#days.find((each) => each.day === day) ?? this.#add(day);
    if (!known.shared) this.#meters.unshared.add(1);
    const key = keyOf(siteId, address, userAgent);
    const cached = known.ids.get(key);
    if (cached !== undefined) return cached;
    const id = hash(known.salt, day, key);
    if (key.length <= KEY_CHARS_MAX) known.ids.set(key, id);
    return id;
  }

  #add(day: number): Day {
    const own = { day, shared: false, salt: randomBytes(SALT_BYTES), ids: new BoundedCache<string>(IDS_MAX) };
    this.#days = [...this.#days, own];
    return own;
  }

  #renew(): void {
    const { turn, salts } = this.#board.read();
    this.#turn = turn;
    const current = ({ day }: DaySalt) => day >= this.#today - 1 && day <= this.#today + 1;
    const next: Day[] = [];
    for (const found of salts) {
      if (!current(found)) continue;
      const before = this.#days.find(({ day, salt }) => day === found.day && same(salt, found.salt));
      next.push({ ...found, ids: before?.ids ?? new BoundedCache<string>(IDS_MAX) });
    }
    for (const own of this.#days) {
      if (current(own) && !own.shared && !next.some(({ day }) => day === own.day)) next.push(own);
      else own.salt.fill(0);
    }
    this.#days = next;
  }
}

/** The visitor of an event whose day has no salt any more, by a salt of the request. */
export function findOnce(salt: Uint8Array, siteId: string, day: number, address: string, userAgent: string): string {
  return hash(salt, day, keyOf(siteId, address, userAgent));
}

// Neither an address nor a header holds a NUL, so no two triples have the same text.
const keyOf = (siteId: string, address: string, userAgent: string) => `${address}\0${userAgent}\0${siteId}`;

const hash = (salt: Uint8Array, day: number, key: string): string =>
  createHmac('sha256', salt).update(`${day}\0${key}`).digest('hex').slice(0, HEX_CHARS);

const same = (one: Uint8Array, other: Uint8Array): boolean => one.every((byte, index) => byte === other[index]);
