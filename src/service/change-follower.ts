/**
 * Change follower: what a service's database says of who may do what, held by a worker of each process for its
 * acceptors (change-copy.ts), so that no request waits for Postgres.
 *
 *   session   opened again for as long as it takes. Each session first reads everything anew, because nobody knows
 *             what a database that comes back has lost; until it has, what was read before stays in force
 *   changes   triggers of the service number them; NOTIFY tells of them at once, and the follower looks every so often
 *             as well, since notifications do not pass through every pooler
 *   acceptors ask what has changed since the version they have. The base is the number of the reading that a version
 *             belongs to: who has another base gets everything
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Logger, Transitions } from '../kernel/log.ts';
import type { PostgresLink } from '../store/postgres/connection.ts';
import { describeFault } from '../store/postgres/fault.ts';
import type { Changes, ChangesQuestion, Versioned } from './change-copy.ts';

/** Items of one answer to an acceptor, which takes requests in between. */
const ANSWER_PAGE = 500;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;

export interface ChangedPage<I> {
  /** In the order of versions. */
  readonly items: readonly I[];
  /** There may be more. */
  readonly more: boolean;
  /** Up to where it has looked; left out: up to the last item. */
  readonly version?: number;
}

export interface Followed<I extends Versioned> {
  readonly open: () => Promise<PostgresLink>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  /** Channel of NOTIFY. */
  readonly channel: string;
  /** Table with a row for each item that changed, numbered by its column `version`. */
  readonly table: string;
  /** What has changed after this version; `horizon`: the newest one when the reading began. */
  read(link: PostgresLink, since: number, horizon: number): Promise<ChangedPage<I>>;
  /** An item replaces an earlier one of the same name. */
  nameOf(item: I): string | number;
  /** Items at most. With marks of what is gone there may be more: then a new reading begins, which has none of them. */
  readonly itemsMax: number;
  /** Between two looks for changes. */
  readonly lookMs: number;
  /** Longest pause between two attempts. Default: 10 s. */
  readonly retryMsMax?: number;
  /** What the log says; `held`: something was read before. */
  readonly words: { readonly name: string; away(held: boolean): string; readonly back: string };
  /** A reading is complete, the first one or another. */
  began(items: Iterable<I>, first: boolean): void;
}

/** The newest change, and who wrote it: another copy of the tables can have the same number. */
interface Newest {
  readonly version: number;
  readonly writer: string;
}

async function newestOf(link: PostgresLink, table: string): Promise<Newest> {
  const { rows } = await link.query<{ version: string; writer: string }>(
    `SELECT version, xmin::text AS writer FROM ${table} ORDER BY version DESC LIMIT 1`,
  );
  const [row] = rows;
  return { version: Number(row?.version ?? 0), writer: row?.writer ?? '' };
}

/** What was read in one session, in the order of versions. */
class Reading<I extends Versioned> {
  /** An item that changes goes to the end. */
  readonly items = new Map<string | number, I>();
  /** The newest version when it began. */
  readonly horizon: number;
  version = 0;

  constructor(horizon: number) {
    this.horizon = horizon;
  }

  put(name: string | number, item: I): void {
    this.items.delete(name);
    this.items.set(name, item);
    this.version = item.version;
  }
}

export class ChangeFollower<I extends Versioned> {
  readonly #followed: Followed<I>;
  readonly #told: Transitions;
  /** Those who wait for a look that begins after they came. */
  #looks: (() => void)[] = [];
  #wake: () => void = () => undefined;
  #reading: Reading<I> | undefined;
  #base = 0;

  constructor(followed: Followed<I>) {
    this.#followed = followed;
    this.#told = new Transitions(followed.log);
  }

  /** Follows the database until the signal fires. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { words, retryMsMax = RETRY_MS_MAX } = this.#followed;
    let retryMs = RETRY_MS_MIN;
    while (!signal.aborted) {
      try {
        await this.#session(signal, () => {
          retryMs = RETRY_MS_MIN;
        });
      } catch (error) {
        const held = this.#reading !== undefined;
        this.#told.down(words.name, words.away(held), { reason: describeFault(error) });
      }
      this.#answerLooks(this.#looks.splice(0));
      await delay(retryMs, undefined, { signal }).catch(() => undefined);
      retryMs = Math.min(retryMsMax, retryMs * 2);
    }
  }

  /**
   * Looks now. Resolves when what was committed before is read, or when the database is away. A notification may be on
   * its way still, so whoever has just changed something asks for it.
   */
  look(): Promise<void> {
    return new Promise((resolve) => {
      this.#looks.push(resolve);
      this.#wake();
    });
  }

  async #session(signal: AbortSignal, done: () => void): Promise<void> {
    const { open, channel, table, lookMs } = this.#followed;
    const link = await open();
    let wake: () => void = () => undefined;
    let told = false;
    let waiting: readonly (() => void)[] = [];
    link.onNotification = () => {
      told = true;
      wake();
    };
    const end = () => wake();
    link.onLost = end;
    this.#wake = () => wake();
    signal.addEventListener('abort', end);
    try {
      // First LISTEN, then read: a change between the two is told.
      await link.query(`LISTEN ${channel}`);
      let seen = await newestOf(link, table);
      const reading = new Reading<I>(seen.version);
      const page = async (): Promise<boolean> => {
        const more = await this.#readPage(link, reading);
        const { itemsMax, words } = this.#followed;
        if (reading.items.size > itemsMax)
          throw new Error(`at most ${itemsMax} ${words.name} can be kept: found=${reading.items.size}`);
        return more;
      };
      while (await page());
      this.#begin(reading);
      done();
      while (!signal.aborted && link.broken === undefined) {
        if (!told && this.#looks.length === 0) {
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, lookMs);
            wake = () => {
              clearTimeout(timer);
              resolve();
            };
          });
        }
        told = false;
        if (signal.aborted) return;
        if (link.broken !== undefined) throw link.broken;
        waiting = this.#looks.splice(0);
        const newest = await newestOf(link, table);
        // Somebody has put another copy of the tables in place: read anew.
        if (newest.version < reading.version) return;
        if (newest.version === seen.version && newest.writer !== seen.writer) return;
        seen = newest;
        if (newest.version > reading.version) while (await this.#readPage(link, reading));
        if (reading.items.size > this.#followed.itemsMax) return;
        this.#answerLooks(waiting);
        this.#told.look();
      }
    } finally {
      signal.removeEventListener('abort', end);
      this.#answerLooks(waiting);
      await link.close();
    }
  }

  #answerLooks(waiting: readonly (() => void)[]): void {
    for (const done of waiting) done();
  }

  /** Whether there may be more. */
  async #readPage(link: PostgresLink, reading: Reading<I>): Promise<boolean> {
    const { nameOf } = this.#followed;
    const { items, more, version = 0 } = await this.#followed.read(link, reading.version, reading.horizon);
    for (const item of items) reading.put(nameOf(item), item);
    reading.version = Math.max(reading.version, version);
    return more;
  }

  #begin(reading: Reading<I>): void {
    const first = this.#reading === undefined;
    this.#reading = reading;
    // A worker that was started again must not give the number of a reading of its predecessor.
    this.#base = Math.max(this.#base + 1, Math.floor(Math.random() * 2 ** 48));
    this.#told.up(this.#followed.words.name, this.#followed.words.back, {});
    this.#followed.began(reading.items.values(), first);
  }

  /** Undefined: nothing has been read yet. */
  answer({ base, since }: ChangesQuestion): Changes<I> | undefined {
    const reading = this.#reading;
    if (reading === undefined) return undefined;
    const from = base === this.#base ? since : 0;
    if (base === this.#base && since === reading.version)
      return { base: this.#base, version: since, items: [], more: false };
    const items: I[] = [];
    for (const item of reading.items.values()) {
      if (item.version <= from) continue;
      if (items.length === ANSWER_PAGE) return { base: this.#base, version: items.at(-1)!.version, items, more: true };
      items.push(item);
    }
    return { base: this.#base, version: reading.version, items, more: false };
  }
}
