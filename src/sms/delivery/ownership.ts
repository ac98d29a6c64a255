/**
 * Ownership: which shards this process sends for. A shard is an advisory lock of one session, so a process that dies,
 * or loses its session, has given its shards back. Processes count each other by a shared lock and take an equal part
 * each.
 *
 * A process that has lost its session may still have calls under way: their outcomes are settled by the number of their
 * attempt (outcomes.ts), and the new owner asks about them only after CALL_TIMEOUT_MS (attempts.ts).
 *
 * The session must be ours alone: behind a pooler in transaction mode the locks would be somebody else's.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { SHARDS } from './shard.ts';

/** First half of the keys of the locks: "sms1". */
const CLASS = 0x736d_7331;
/** Second half of the key that every worker process holds a share of. */
const MEMBER = 1_000_000;

/** Shards that no worker process holds, by the locks of this database. */
export async function unownedShards(link: PostgresLink): Promise<number> {
  const { rows } = await link.query<{ owned: number }>(
    `SELECT count(DISTINCT objid)::int AS owned FROM pg_locks
       WHERE locktype = 'advisory' AND classid = ${CLASS} AND objid::bigint < ${SHARDS} AND objsubid = 2 AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  );
  return SHARDS - rows[0]!.owned;
}

export interface OwnershipDeps {
  readonly open: () => Promise<PostgresLink>;
  /** Messages of the shard that are under way in this process. */
  busy(shard: number): boolean;
  /** It is ours from now on. */
  gained(shard: number): void;
  /** Take nothing of it any more; it is given back when it is not busy. */
  leaving(shard: number): void;
  /** The session is gone, and every shard with it. */
  lost(): void;
}

export class Ownership {
  readonly #deps: OwnershipDeps;
  #link: PostgresLink | undefined;
  readonly #owned = new Set<number>();
  readonly #leaving = new Set<number>();

  constructor(deps: OwnershipDeps) {
    this.#deps = deps;
  }

  /** Shards that may be taken from. */
  get owned(): ReadonlySet<number> {
    return this.#owned;
  }

  /** Whether the session lives as far as we know. */
  get holds(): boolean {
    return this.#link !== undefined && this.#link.broken === undefined;
  }

  /** Takes and gives back what the number of processes asks for. Rejects when the database is away. */
  async look(): Promise<void> {
    const link = await this.#session();
    const { rows } = await link.query<{ members: number }>(
      `SELECT count(*)::int AS members FROM pg_locks
         WHERE locktype = 'advisory' AND classid = ${CLASS} AND objid = ${MEMBER} AND objsubid = 2 AND granted
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    );
    const share = Math.ceil(SHARDS / Math.max(1, rows[0]!.members));
    await this.#giveBack(link, share);
    if (this.#owned.size < share && this.#leaving.size === 0) await this.#take(link, share - this.#owned.size);
  }

  /** Gives everything back that is not busy; call until it returns true. */
  async leave(): Promise<boolean> {
    const link = this.#link;
    if (link === undefined || link.broken !== undefined) return true;
    await this.#giveBack(link, 0);
    return this.#owned.size + this.#leaving.size === 0;
  }

  async close(): Promise<void> {
    const link = this.#link;
    this.#link = undefined;
    if (link !== undefined) await link.close();
  }

  async #session(): Promise<PostgresLink> {
    if (this.#link !== undefined && this.#link.broken === undefined) return this.#link;
    this.#gone();
    const link = await this.#deps.open();
    link.onLost = () => this.#gone();
    this.#link = link;
    await link.query(`SELECT pg_advisory_lock_shared(${CLASS}, ${MEMBER})`);
    return link;
  }

  #gone(): void {
    if (this.#link === undefined) return;
    this.#link = undefined;
    this.#owned.clear();
    this.#leaving.clear();
    this.#deps.lost();
  }

  async #giveBack(link: PostgresLink, share: number): Promise<void> {
    for (const shard of [...this.#owned].slice(share)) {
      this.#owned.delete(shard);
      this.#leaving.add(shard);
      this.#deps.leaving(shard);
    }
    const free = [...this.#leaving].filter((shard) => !this.#deps.busy(shard));
    if (free.length === 0) return;
    await link.query(`SELECT pg_advisory_unlock(${CLASS}, s) FROM unnest($1::int4[]) AS s`, [free]);
    for (const shard of free) this.#leaving.delete(shard);
  }

  async #take(link: PostgresLink, count: number): Promise<void> {
    // From a place of its own, so that processes that start together do not ask for the same ones.
    const from = Math.floor(Math.random() * SHARDS);
    const wanted = Array.from({ length: SHARDS }, (_, at) => (from + at) % SHARDS).filter(
      (shard) => !this.#owned.has(shard),
    );
    const { rows } = await link.query<{ shard: number }>(
      `SELECT shard FROM (
         SELECT shard, pg_try_advisory_lock(${CLASS}, shard) AS got FROM unnest($1::int4[]) WITH ORDINALITY AS u (shard, n)
           ORDER BY n LIMIT $2) t WHERE got`,
      [wanted, count + 8],
    );
    // LIMIT bounds how many are tried: some of them are others'.
    for (const { shard } of rows) {
      this.#owned.add(shard);
      this.#deps.gained(shard);
    }
  }
}
