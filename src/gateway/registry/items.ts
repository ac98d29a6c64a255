/**
 * Items: what the registry worker reads of the database for one change, as plain data on its way to the acceptors. A
 * change of any table that a user is made of is a change of the user; those of keys, backends, purges and deleted
 * uploads have kinds of their own (migrations/: gateway_changes).
 */
import type { Versioned } from '../../service/change-copy.ts';
import type { ChangedPage } from '../../service/change-follower.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { BackendRow, GatewayKey, GatewayUser, PurgeRule, Rates, Scope } from '../model.ts';

/** What is gone has no value. */
export type Item = Versioned & { readonly name: string } & (
    | { readonly kind: 'user'; readonly value: GatewayUser | null }
    | { readonly kind: 'key'; readonly value: GatewayKey | null }
    | { readonly kind: 'purge'; readonly value: PurgeRule | null }
    | { readonly kind: 'backends'; readonly value: readonly BackendRow[] }
    | { readonly kind: 'disowned' | 'removed'; readonly value: null }
  );

/** Changes of one read from the database: what 10,000 users and their keys are, in few round trips. */
const PAGE = 5000;
/** Different values of a kind that are known. */
const ALIKE_MAX = 1000;

/** Ms since 1970; they are below 2^53. */
const ms = (column: string): string => `floor(extract(epoch FROM ${column}) * 1000)::float8`;
const networks = (column: string, names: string): string =>
  `LEFT JOIN (SELECT ${column}, string_agg(ip_cidr::text, ',' ORDER BY ip_cidr) AS networks FROM ip_whitelist
     WHERE ${column} IN (SELECT ${names} FROM page) GROUP BY ${column}) w ON w.${column}`;
const RATES = `r.requests_per_minute::float8 AS "requestsPerMinute", r.requests_per_hour::float8 AS "requestsPerHour",
  r.burst::float8 AS burst`;

interface Row {
  readonly [column: string]: unknown;
  readonly version: string;
  readonly name: string;
  /** Whether there is one. */
  readonly there: boolean;
}
interface RatesRow extends Row {
  readonly requestsPerMinute: number | null;
  readonly requestsPerHour: number | null;
  readonly burst: number | null;
  /** Between commas. */
  readonly networks: string | null;
}
interface UserRow extends RatesRow {
  readonly id: number;
  readonly username: string;
  readonly email: string;
  readonly active: boolean;
  readonly monthlyRequests: number | null;
  readonly monthlyBytes: number | null;
  readonly storageBytes: number | null;
}
interface KeyRow extends RatesRow {
  readonly user_id: number;
  readonly label: string;
  /** Between commas. */
  readonly scopes: string;
  readonly key_version: number;
  readonly digest: string;
  readonly previous: string | null;
  readonly until: number | null;
  readonly expires: number | null;
}
interface PurgeRow extends Row {
  readonly id: number;
  readonly source: string;
  readonly prefix: boolean;
  readonly at: number;
}
interface BackendsRow extends Row {
  readonly backends: readonly BackendRow[];
}

/**
 * Values that many users and keys have alike (rates of a plan, scopes, no networks) are one object: with 10,000 users
 * 4 MiB less in the worker, and 2 in each acceptor, for a message keeps what is shared within it. Nobody changes them.
 * Too many of a kind are begun anew.
 */
class Alike<T> {
  readonly #known = new Map<string, T>();

  of(text: string, make: () => T): T {
    let value = this.#known.get(text);
    if (value === undefined) {
      value = make();
      if (this.#known.size >= ALIKE_MAX) this.#known.clear();
      this.#known.set(text, value);
    }
    return value;
  }
}

const lists = new Alike<readonly string[]>();
const allRates = new Alike<Rates>();
const allQuotas = new Alike<GatewayUser['quota']>();

/** Without what is NULL: it is left out, as model.ts says. */
function given<T extends Readonly<Record<string, number | null>>>(values: T): { [K in keyof T]?: number } {
  const found: { [K in keyof T]?: number } = {};
  for (const name in values) if (values[name] !== null) found[name] = values[name] as number;
  return found;
}

const ratesOf = ({ requestsPerMinute, requestsPerHour, burst }: RatesRow): Rates =>
  allRates.of(`${requestsPerMinute},${requestsPerHour},${burst}`, () =>
    given({ requestsPerMinute, requestsPerHour, burst }),
  );
const listOf = (text: string | null): readonly string[] =>
  lists.of(text ?? '', () => (text === null || text === '' ? [] : text.split(',')));

const userOf = (row: UserRow): GatewayUser => {
  const { id, username, email, active, monthlyRequests, monthlyBytes, storageBytes } = row;
  const quota = allQuotas.of(`${monthlyRequests},${monthlyBytes},${storageBytes}`, () =>
    given({ monthlyRequests, monthlyBytes, storageBytes }),
  );
  return { id, username, email, active, rates: ratesOf(row), quota, networks: listOf(row.networks) };
};

const keyOf = (row: KeyRow): GatewayKey => {
  const { key_version: version, digest, previous, until, expires } = row;
  const now = { version, digest };
  return {
    id: row.name,
    userId: row.user_id,
    name: row.label,
    scopes: listOf(row.scopes) as readonly Scope[],
    secrets: previous === null ? [now] : [now, { version: version - 1, digest: previous, untilMs: until! }],
    ...(expires === null ? {} : { expiresAtMs: expires }),
    networks: listOf(row.networks),
    rates: ratesOf(row),
  };
};

interface Kind {
  /** Over the changes of a page: joins by hash of what there are thousands of, and no look-up per row. */
  readonly sql: string;
  make(row: Row): Item['value'];
}

const GONE = 'SELECT version, name, false AS there FROM page p';

/** What is not `there` is gone: a key that is revoked, and one that never was. Columns and no JSON: it is half the time. */
const byKind: Readonly<Record<Item['kind'], Kind>> = {
  user: {
    sql: `SELECT p.version, p.name, u.id IS NOT NULL AS there, u.id::float8 AS id, u.username, u.email,
        u.is_active AS active, ${RATES}, q.monthly_requests::float8 AS "monthlyRequests",
        q.monthly_bytes::float8 AS "monthlyBytes", q.storage_bytes::float8 AS "storageBytes", w.networks
      FROM page p LEFT JOIN users u ON u.id = p.name::bigint LEFT JOIN rate_limits r ON r.user_id = u.id
      LEFT JOIN quotas q ON q.user_id = u.id ${networks('user_id', 'name::bigint')} = u.id`,
    make: (row) => userOf(row as UserRow),
  },
  key: {
    sql: `SELECT p.version, p.name, coalesce(r.is_active, false) AS there, r.user_id::float8 AS user_id, r.name AS label,
        array_to_string(r.scopes, ',') AS scopes, r.version AS key_version, encode(r.key_hash, 'hex') AS digest,
        encode(r.previous_hash, 'hex') AS previous, ${ms('r.previous_until')} AS until, ${ms('r.expires_at')} AS expires,
        ${RATES}, w.networks
      FROM page p LEFT JOIN api_keys r ON r.id = p.name ${networks('key_id', 'name')} = r.id`,
    make: (row) => keyOf(row as KeyRow),
  },
  purge: {
    sql: `SELECT p.version, p.name, c.id IS NOT NULL AS there, c.id::float8 AS id, c.source, c.prefix,
        ${ms('c.created_at')} AS at FROM page p LEFT JOIN cache_purges c ON c.id = p.name::bigint`,
    make(row) {
      const { id, source, prefix, at } = row as PurgeRow;
      return { id, source, prefix, atMs: at };
    },
  },
  backends: {
    sql: `SELECT p.version, p.name, true AS there, coalesce((SELECT json_agg(json_build_object('id', id, 'name', name,
        'url', url, 'weight', weight, 'draining', draining) ORDER BY id) FROM backends), '[]') AS backends FROM page p`,
    make: (row) => (row as BackendsRow).backends,
  },
  disowned: { sql: GONE, make: () => null },
  removed: { sql: GONE, make: () => null },
};

const kinds = Object.keys(byKind) as Item['kind'][];

interface ChangeRow {
  readonly [column: string]: unknown;
  readonly kind: Item['kind'];
  readonly version: string;
  readonly name: string;
}

/**
 * A page of what has changed after a version, in its order. Each item is at least as new as its version. `horizon`:
 * what was gone at this version is passed over, for whoever reads everything anew has nothing of it. So marks of what
 * went take no room in a new reading, however many there are.
 */
export async function readItems(link: PostgresLink, since: number, horizon: number): Promise<ChangedPage<Item>> {
  const { rows } = await link.query<ChangeRow>(
    `SELECT kind, version, name FROM gateway_changes
      WHERE version > $1 AND (kind NOT IN ('disowned', 'removed') OR version > $2) ORDER BY version LIMIT ${PAGE}`,
    [since, horizon],
  );
  const items: Item[] = [];
  for (const kind of kinds) {
    const page = rows.filter((row) => row.kind === kind);
    if (page.length === 0) continue;
    const { sql, make } = byKind[kind];
    const { rows: read } = await link.query<Row>(
      `WITH page AS MATERIALIZED (SELECT * FROM unnest($1::bigint[], $2::text[]) AS p (version, name)) ${sql}`,
      [page.map(({ version }) => version), page.map(({ name }) => name)],
    );
    for (const row of read) {
      const version = Number(row.version);
      if (!row.there && version <= horizon) continue;
      // The table gives each kind its values.
      items.push({ kind, version, name: row.name, value: row.there ? make(row) : null } as Item);
    }
  }
  items.sort((a, b) => a.version - b.version);
  const more = rows.length === PAGE;
  return { items, more, version: more ? Number(rows.at(-1)!.version) : horizon };
}
