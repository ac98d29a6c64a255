/**
 * Postgres connection: one session, opened on the first host that will do, every wait bounded.
 *
 *   hosts     tried in order. A host is passed over when it refuses, is full, is starting, or does not fit
 *             target_session_attrs
 *   TLS       libpq's sslmode; prefer and allow try both ways
 *   deadline  when a query has no answer in time, the link destroys its socket: the server's statement_timeout cannot
 *             help when the server, or the network, is frozen
 *   broken    after a lost socket or a passed deadline the link stays broken; its owner opens another
 *   errors    name host and port, but for those about a row
 */
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { placeOf, reasonAt } from '../../kernel/place.ts';
import { type BindConfig, bindPieces } from './bind.ts';
import { type Dsn, type Host, parseDsn, type SslMode } from './dsn.ts';
import { describeFault, faultOf, nameServer } from './fault.ts';

export interface LinkOptions {
  /** Longest wait for one host: TCP, TLS and login. */
  readonly connectTimeoutMs: number;
  /** Longest wait for the answer to one query. */
  readonly queryTimeoutMs: number;
  /** Shown in pg_stat_activity unless the DSN names another. */
  readonly applicationName: string;
  /** Queries are sent while answers to those before them are on their way: calls may overlap. No COPY then. */
  readonly pipeline?: boolean;
  /** Settings of the server for this session, by name: { lock_timeout: 3000 }. Constants of ours: they are not quoted. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** What is committed is on the server's disk when it says so, also where synchronous_commit is off by default. */
  readonly durable?: boolean;
}

/** Somebody relies on the commit at once. A default that asks for more than `on` is left as it is. */
const DURABLE = `SELECT set_config('synchronous_commit', 'on', false)
  WHERE current_setting('synchronous_commit') = 'off'`;

/** The socket is destroyed this long after a good-bye that the server did not answer. */
const CLOSE_MS_MAX = 1000;
/** An idle connection through a dead router is noticed after this much silence. */
const KEEP_ALIVE_MS = 15_000;

/** One session. Without `pipeline`, calls must not overlap: the owner awaits each. */
export class PostgresLink {
  readonly #client: pg.Client;
  readonly #socket: Socket;
  readonly #queryTimeoutMs: number;
  readonly host: Host;
  #broken: Error | undefined;
  /** Called once when the session ends without close(): a server that restarts, a cut line. */
  onLost: (error: Error) => void = () => {};
  /** Called for each NOTIFY on a channel that the session LISTENs to. */
  onNotification: (channel: string) => void = () => {};

  constructor(client: pg.Client, socket: Socket, host: Host, options: LinkOptions) {
    this.#client = client;
    this.#socket = socket;
    this.#queryTimeoutMs = options.queryTimeoutMs;
    this.host = host;
    client.on('error', (error) => this.#break(error));
    client.on('notification', ({ channel }) => this.onNotification(channel));
    client.on('end', () => this.#break(new Error('the server closed the connection')));
  }

  /** Why the session cannot be used any more; undefined while it can. */
  get broken(): Error | undefined {
    return this.#broken;
  }

  /** Runs one statement, or several without parameters. Returns the result of the last one. */
  async query<R extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<pg.QueryResult<R>> {
    const result = await this.within<pg.QueryResult<R> | pg.QueryResult<R>[]>(
      values === undefined ? this.#client.query<R>(sql) : this.#client.query<R>(sql, [...values]),
    );
    return Array.isArray(result) ? result.at(-1)! : result;
  }

  /**
   * Runs a statement that this session plans once and keeps under `name`, which must always stand for the same text.
   */
  prepared<R extends pg.QueryResultRow>(
    name: string,
    sql: string,
    values: readonly unknown[],
  ): Promise<pg.QueryResult<R>> {
    return this.within(this.#client.query<R>({ name, text: sql, values: [...values] }));
  }

  /** Hands a query object (a COPY stream) to the session. within() bounds the wait for its answer. */
  submit<Q extends pg.Submittable>(query: Q): Q {
    return this.#client.query(query);
  }

  /** Waits for an answer of this session, for no longer than the deadline. */
  async within<T>(answer: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new Error(`no answer within ${this.#queryTimeoutMs} ms: host=${placeOf(this.host)}`);
        reject(error);
        this.#socket.destroy(error);
      }, this.#queryTimeoutMs);
    });
    // When the deadline wins, the destroyed socket rejects the answer as well; that rejection has no other listener.
    answer.catch(() => {});
    try {
      return await Promise.race([answer, late]);
    } catch (error) {
      nameServer(error, placeOf(this.host));
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Says good-bye; never waits long and never throws. */
  async close(): Promise<void> {
    this.onLost = () => {};
    if (this.#broken !== undefined) {
      this.#socket.destroy();
      return;
    }
    const timer = setTimeout(() => this.#socket.destroy(), CLOSE_MS_MAX);
    await this.#client.end().catch(() => {});
    clearTimeout(timer);
  }

  #break(error: Error): void {
    if (this.#broken !== undefined) return;
    nameServer(error, placeOf(this.host));
    this.#broken = error;
    this.onLost(error);
  }
}

/**
 * As connect(), for the workers, jobs and commands of services: the limits have defaults. Rejects as parseDsn() and
 * connect().
 */
export function openLink(dsn: string, options: Partial<LinkOptions> = {}): Promise<PostgresLink> {
  return connect(parseDsn(dsn), {
    connectTimeoutMs: 10_000,
    queryTimeoutMs: 30_000,
    applicationName: 'ringmain',
    ...options,
  });
}

/** Opens a session on the first host that fits. Throws the reason of the host that tells most. */
export async function connect(dsn: Dsn, options: LinkOptions): Promise<PostgresLink> {
  const failures: { host: Host; error: unknown }[] = [];
  for (const host of dsn.hosts) {
    try {
      return await connectTo(dsn, host, options);
    } catch (error) {
      if (dsn.hosts.length === 1) nameServer(error, placeOf(host));
      failures.push({ host, error });
    }
  }
  // A failure that only an operator can mend (a wrong password) is the verdict only when every host has such a failure:
  // as long as one host may come back, trying again may help.
  const [first] = failures;
  if (first === undefined) throw new Error('a DSN must name a host');
  const passing = failures.find(({ error }) => faultOf(error) !== 'setup') ?? first;
  if (failures.length === 1) throw passing.error;
  const reasons = failures.map(({ host, error }) => reasonAt(describeFault(error), [placeOf(host)]));
  if (passing.error instanceof Error) passing.error.message = reasons.join('; ');
  throw passing.error;
}

async function connectTo(dsn: Dsn, host: Host, options: LinkOptions): Promise<PostgresLink> {
  const attempts = tlsAttempts(dsn, host);
  for (const [index, ssl] of attempts.entries()) {
    let link: PostgresLink;
    try {
      link = await login(dsn, host, ssl, options);
    } catch (error) {
      // As libpq does: the other way is tried when the server refused this one, not when there is no server.
      if (index + 1 < attempts.length && isEncryptionMatter(error)) continue;
      throw error;
    }
    try {
      await checkSession(link, dsn);
      const settings = Object.entries(options.settings ?? {}).map(([name, value]) => `SET ${name} = ${value}`);
      if (options.durable === true) settings.push(DURABLE);
      if (settings.length > 0) await link.query(settings.join('; '));
      return link;
    } catch (error) {
      await link.close();
      throw error;
    }
  }
  throw new Error('sslmode leaves no way to connect');
}

async function login(
  dsn: Dsn,
  host: Host,
  ssl: ConnectionOptions | false,
  options: LinkOptions,
): Promise<PostgresLink> {
  const socket = new Socket();
  const client = new pg.Client({
    host: host.host,
    port: host.port,
    user: dsn.user,
    password: dsn.password,
    database: dsn.database,
    ssl,
    options: dsn.options,
    application_name: dsn.applicationName ?? options.applicationName,
    connectionTimeoutMillis: dsn.connectTimeoutMs ?? options.connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    stream: () => socket,
    pipeline: options.pipeline === true,
  } as pg.ClientConfig);
  sendPieces((client as unknown as { readonly connection: Driver }).connection);
  const link = new PostgresLink(client, socket, host, options);
  try {
    await client.connect();
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return link;
}

/** What we need of the driver's connection. */
interface Driver {
  readonly stream: Socket;
  bind(config: BindConfig): void;
}

/** Parameters of statements go out as they are (bind.ts). A query corks its messages: they go out together. */
function sendPieces(driver: Driver): void {
  const { bind } = driver;
  driver.bind = (config) => {
    const pieces = bindPieces(config);
    if (pieces === undefined) bind.call(driver, config);
    else if (driver.stream.writable) for (const piece of pieces) driver.stream.write(piece);
  };
}

async function checkSession(link: PostgresLink, dsn: Dsn): Promise<void> {
  if (dsn.session === 'any') return;
  const { rows } = await link.query<{ standby: boolean; readonly: boolean }>(
    "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS readonly",
  );
  const [found] = rows;
  if (found?.standby || (found?.readonly && dsn.session === 'read-write')) {
    throw new Error(`the session must be ${dsn.session}: standby=${found.standby}, read_only=${found.readonly}`);
  }
}

/** What to try, in order; false is plain text. */
function tlsAttempts(dsn: Dsn, host: Host): (ConnectionOptions | false)[] {
  if (host.host.startsWith('/')) return [false]; // Unix sockets have no TLS, as in libpq
  const ways: Readonly<Record<SslMode, readonly boolean[]>> = {
    disable: [false],
    allow: [false, true],
    prefer: [true, false],
    require: [true],
    'verify-ca': [true],
    'verify-full': [true],
  };
  return ways[dsn.sslMode].map((encrypted) => encrypted && tlsOptions(dsn));
}

function tlsOptions(dsn: Dsn): ConnectionOptions {
  const system = dsn.sslRootCert === undefined || dsn.sslRootCert === 'system';
  // libpq: `require` with a root certificate means verify-ca.
  const verify = dsn.sslMode.startsWith('verify') || (dsn.sslMode === 'require' && !system);
  const full = dsn.sslMode === 'verify-full' || dsn.sslRootCert === 'system';
  return {
    rejectUnauthorized: verify || full,
    ...(system ? {} : { ca: readFileSync(dsn.sslRootCert!, 'utf8') }),
    ...(dsn.sslCert === undefined ? {} : { cert: readFileSync(dsn.sslCert, 'utf8') }),
    ...(dsn.sslKey === undefined ? {} : { key: readFileSync(dsn.sslKey, 'utf8') }),
    ...(full ? {} : { checkServerIdentity: () => undefined }),
  };
}

/**
 * True when the other way of `prefer` or `allow` may succeed: the server offers no TLS, TLS failed, or pg_hba.conf asks
 * for the other.
 */
function isEncryptionMatter(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return (
    code === '28000' ||
    /does not support SSL|establishing an SSL/.test(error.message) ||
    /^(ERR_SSL|ERR_TLS|EPROTO)/.test(code)
  );
}
