/**
 * Registry worker: follows users, keys, backends, purges and deleted uploads in the database for the acceptors
 * (view.ts), so that no request waits for Postgres and a revoked key is refused everywhere within a second. It is ready
 * when it has read everything once; from then on the gateway goes on with what is known.
 *
 * It also deletes what nobody needs of gateway_changes: the marks of what is gone, after an hour. Whoever was away from
 * the database for as much as a second reads everything anew.
 */
import type { ChangesQuestion } from '../../service/change-copy.ts';
import { ChangeFollower } from '../../service/change-follower.ts';
import type { Worker } from '../../service/contract.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { deletePages } from '../../store/postgres/delete-pages.ts';
import { BackendTable } from '../balance/backend-table.ts';
import { seedBackends } from '../database/admin/backends.ts';
import type { GatewayValues } from '../gateway.ts';
import type { BackendRow } from '../model.ts';
import type { GatewayShared } from '../shared.ts';
import { type Item, readItems } from './items.ts';

const CONNECT_MS_MAX = 3000;
const QUERY_MS_MAX = 5000;
const LOOK_MS = 500;
/** A database that is back is followed within this time: keys may have been revoked meanwhile. */
const RETRY_MS_MAX = 1000;
/** Users, keys, rules of purges, and marks of what is gone; marks that are too many go with a new reading. */
const ITEMS_MAX = 1_000_000;
const TIDY_MS = 600_000;
const TIDY_PAGE = 10_000;

/** The newest change stays, for the numbers go on from it. */
const TIDY = `DELETE FROM gateway_changes c WHERE c.ctid = ANY (ARRAY(
  SELECT g.ctid FROM gateway_changes g WHERE g.changed_at < now() - interval '1 hour'
    AND g.version < (SELECT max(version) FROM gateway_changes)
    AND CASE g.kind WHEN 'user' THEN NOT EXISTS (SELECT FROM users u WHERE u.id = g.name::bigint)
      WHEN 'key' THEN NOT EXISTS (SELECT FROM api_keys k WHERE k.id = g.name)
      WHEN 'purge' THEN NOT EXISTS (SELECT FROM cache_purges p WHERE p.id = g.name::bigint)
      ELSE g.kind IN ('disowned', 'removed') END LIMIT ${TIDY_PAGE}))`;

/** Deletes marks of what went more than an hour ago. */
export const tidyChanges = (link: PostgresLink, signal?: AbortSignal): Promise<number> =>
  deletePages(link, TIDY, [], TIDY_PAGE, signal);

export interface RegistryFollowed {
  readonly open: () => Promise<PostgresLink>;
  readonly log: ConstructorParameters<typeof ChangeFollower>[0]['log'];
  /** Called with the first complete reading. */
  readonly ready: () => void;
  /** Called with all backends whenever they are read. */
  readonly place?: (backends: readonly BackendRow[]) => void;
  /** Default: ITEMS_MAX. */
  readonly itemsMax?: number;
}

/** Follows the gateway's tables. */
export function followRegistry(followed: RegistryFollowed): ChangeFollower<Item> {
  const { open, log, ready, place, itemsMax = ITEMS_MAX } = followed;
  return new ChangeFollower<Item>({
    open,
    log,
    channel: 'gateway_changes',
    table: 'gateway_changes',
    async read(link, since, horizon) {
      const page = await readItems(link, since, horizon);
      for (const { kind, value } of page.items) if (kind === 'backends' && value !== null) place?.(value);
      return page;
    },
    nameOf: ({ kind, name }) => `${kind} ${name}`,
    itemsMax,
    lookMs: LOOK_MS,
    retryMsMax: RETRY_MS_MAX,
    words: {
      name: 'users and keys',
      away: (held) =>
        `users and keys cannot be read; ${held ? 'those that were read last stay in force' : 'every request is refused'}`,
      back: 'users and keys are read',
    },
    began(items, first) {
      if (!first) return;
      const count = { user: 0, key: 0, purge: 0, backends: 0, disowned: 0, removed: 0 };
      for (const { kind, value } of items) if (value !== null) count[kind] += kind === 'backends' ? value.length : 1;
      log.info(
        { users: count.user, keys: count.key, backends: count.backends },
        count.key === 0
          ? 'there is no key yet: every request is refused (ringmain gateway user add)'
          : 'users and keys are read',
      );
      ready();
    },
  });
}

export default {
  async run({ values, shared, log, signal, ready, away, serve }) {
    // Its options are checked: without a DSN the gateway does not start.
    const dsn = values.postgres.pgDsn!;
    const connect = () =>
      openLink(dsn, {
        connectTimeoutMs: CONNECT_MS_MAX,
        queryTimeoutMs: QUERY_MS_MAX,
        applicationName: 'ringmain-gateway-registry',
      });
    let given = values.gateway.backends;
    // The backends of the configuration are there before the first reading, whenever the database is.
    const open = async () => {
      const link = await connect();
      try {
        const added = given.length === 0 ? 0 : await seedBackends(link, given);
        if (added > 0) log.info({ backends: added }, 'the table of backends was empty: it has those of BACKENDS now');
        given = [];
        return link;
      } catch (error) {
        await link.close();
        throw error;
      }
    };
    away('users and keys have not been read yet');
    // The only thread that writes it: acceptors and checks follow.
    const table = new BackendTable(shared.backends);
    const place = (backends: readonly BackendRow[]): void => {
      const without = table.place(backends);
      if (without > 0) log.error({ without }, 'there are more backends than fit: these get no request');
    };
    const follower = followRegistry({ open, log, ready, place });
    serve((question) => follower.answer(question as ChangesQuestion));
    const tidy = async (): Promise<void> => {
      try {
        const link = await connect();
        await tidyChanges(link, signal).finally(() => link.close());
      } catch {
        // The database is away, as the follower says; it is tried again.
      }
    };
    const timer = setInterval(() => void tidy(), TIDY_MS);
    await follower.run(signal);
    clearInterval(timer);
  },
} satisfies Worker<GatewayValues, GatewayShared>;
