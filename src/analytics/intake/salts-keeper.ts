/**
 * Salts keeper: fills the salts board of its process, so that all API processes make the same id of the same visitor.
 * The registry worker runs one.
 *
 *   a day's salt   this process proposes a random one: INSERT ... ON CONFLICT DO NOTHING, then SELECT what counts
 *   kept           of today, of yesterday (late events), and from an hour before midnight of tomorrow
 *   destroyed      when its day has been over for 24 hours: on the board at once, in the table with it by each keeper,
 *                  and by a job of the processors (deleteOldSalts). Nobody can then compute an id of that day again
 *   Postgres away  the proposal is used in the meantime, and proposed when Postgres is back. When it is the first, ids
 *                  stay as they are; when another process was first, ids of the day change once
 *
 * A salt is as old as its day. A clock that is set back by days finds no salt of that day and makes a new one.
 */
import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '../../kernel/clock.ts';
import { type Logger, Transitions } from '../../kernel/log.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault } from '../../store/postgres/fault.ts';
import { DAY_MS, dayOf } from '../dimensions.ts';
import { type DaySalt, SALT_BYTES, SaltsBoard } from './salts-board.ts';

/** Tomorrow's salt is made so long before midnight. */
const AHEAD_MS = 3_600_000;
/** Between two looks at the clock: a salt is destroyed this late at most. */
export const LOOK_EVERY_MS = 1000;
/** Between two tries to reach Postgres: doubles from the first to the second. */
const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 30_000;

/** A session that the keeper may use until its promise has settled. */
export type OpenLink = () => Promise<Pick<PostgresLink, 'query' | 'close'>>;

export interface SaltsKeeperOptions {
  readonly memory: SharedArrayBuffer;
  readonly open: OpenLink;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  readonly clock?: Clock;
}

export class SaltsKeeper {
  readonly #board: SaltsBoard;
  readonly #open: OpenLink;
  readonly #clock: Clock;
  readonly #told: Transitions;
  #salts: readonly DaySalt[];
  /** By clock.elapsed(): no try before. */
  #notBefore = Number.NEGATIVE_INFINITY;
  #retryMs = RETRY_MS_MIN;
  #sharing: Promise<void> | undefined;
  /** The table may hold a salt that is destroyed here. */
  #untidy = true;

  constructor({ memory, open, log, clock = systemClock }: SaltsKeeperOptions) {
    this.#board = new SaltsBoard(memory);
    this.#open = open;
    this.#clock = clock;
    this.#told = new Transitions(log, { clock });
    // A worker that is started again goes on with what its predecessor has left.
    this.#salts = this.#board.read().salts;
  }

  /** All salts that are needed now are those of all processes. */
  get isShared(): boolean {
    return this.#salts.every(({ shared }) => shared);
  }

  /**
   * Makes what is missing and destroys what is too old, at once; asks Postgres when that is due. The promise settles
   * when Postgres has answered, and never rejects.
   */
  look(): Promise<void> {
    this.#told.look();
    this.#renew();
    const idle = this.isShared && !this.#untidy;
    if (idle || this.#clock.elapsed() < this.#notBefore) return this.#sharing ?? Promise.resolve();
    this.#sharing ??= this.#share().finally(() => {
      this.#sharing = undefined;
    });
    return this.#sharing;
  }

  /** Looks until the signal fires; then settles what it has begun. */
  async run(signal: AbortSignal): Promise<void> {
    void this.look();
    const timer = setInterval(() => void this.look(), LOOK_EVERY_MS);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    clearInterval(timer);
    await this.#sharing;
  }

  #renew(): void {
    const days = neededDays(this.#clock.now());
    const [first, last] = [days[0]!, days.at(-1)!];
    const kept = this.#salts.filter(({ day }) => day >= first && day <= last);
    const missing = days.filter((day) => !kept.some((salt) => salt.day === day));
    if (missing.length === 0 && kept.length === this.#salts.length) return;
    if (kept.length < this.#salts.length) this.#untidy = true;
    const added = missing.map((day) => ({ day, shared: false, salt: randomBytes(SALT_BYTES) }));
    this.#put([...kept, ...added]);
  }

  #put(salts: readonly DaySalt[]): void {
    for (const old of this.#salts) if (!salts.includes(old)) old.salt.fill(0);
    this.#salts = salts;
    this.#board.write(salts);
  }

  async #share(): Promise<void> {
    const proposed = this.#salts.filter(({ shared }) => !shared);
    // Copies: a salt that becomes too old while Postgres is asked is zero by then, and must not be stored as that.
    const days = proposed.map(({ day }) => day);
    const salts = proposed.map(({ salt }) => Buffer.from(salt));
    this.#untidy = false;
    this.#notBefore = this.#clock.elapsed() + RETRY_MS_MIN;
    try {
      const agreed = await this.#agree(days, salts);
      this.#retryMs = RETRY_MS_MIN;
      this.#told.up('salts', 'the salts of visitors are those of all processes again');
      this.#put(this.#salts.map((own) => agreed.find(({ day }) => day === own.day && !own.shared) ?? own));
      if (this.isShared) this.#notBefore = Number.NEGATIVE_INFINITY;
    } catch (error) {
      this.#untidy = true;
      this.#notBefore = this.#clock.elapsed() + this.#retryMs;
      this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS_MAX);
      this.#told.down('salts', 'the salts of visitors cannot be agreed upon, so this process uses its own; retrying', {
        error: describeFault(error),
      });
    }
  }

  async #agree(days: readonly number[], salts: readonly Buffer[]): Promise<readonly DaySalt[]> {
    const link = await this.#open();
    try {
      await link.query(
        'INSERT INTO visitor_salts (day, salt) SELECT * FROM unnest($1::integer[], $2::bytea[]) ON CONFLICT DO NOTHING',
        [days, salts],
      );
      const { rows } = await link.query<{ day: number; salt: Buffer }>(
        'SELECT day, salt FROM visitor_salts WHERE day = ANY($1)',
        [days],
      );
      for (const { day, salt } of rows)
        if (salt.length !== SALT_BYTES)
          throw new TypeError(`the salt of day ${day} must have ${SALT_BYTES} bytes: found=${salt.length}`);
      await deleteOldSalts(link, this.#clock.now());
      return rows.map(({ day, salt }) => ({ day, shared: true, salt: Uint8Array.from(salt) }));
    } finally {
      await link.close();
    }
  }
}

/** Yesterday, today and, in the last hour, tomorrow. */
function neededDays(nowMs: number): readonly number[] {
  const today = dayOf(nowMs);
  const days = [today - 1, today];
  if (dayOf(nowMs + AHEAD_MS) > today) days.push(today + 1);
  return days;
}

/** Deletes the salts of days that have been over for 24 hours. Returns how many. */
export async function deleteOldSalts(link: Pick<PostgresLink, 'query'>, nowMs: number): Promise<number> {
  const { rowCount } = await link.query('DELETE FROM visitor_salts WHERE day < $1', [dayOf(nowMs - DAY_MS)]);
  return rowCount ?? 0;
}
