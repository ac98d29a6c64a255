/**
 * DSN: where a database is and how to reach it, in libpq's two spellings. It may name several hosts, where the `pg`
 * driver knows one.
 *
 *   postgres://user:password@host1:5432,host2,[::1]:5433/database?sslmode=require&target_session_attrs=read-write
 *   host=host1,host2 port=5432 dbname=database user=me password='it''s' sslmode=verify-full
 *
 * Meanings are libpq's: hosts are tried in the order given, sslmode defaults to `prefer`, the port to 5432, the
 * database to the user's name. One default differs on purpose: with several hosts target_session_attrs is `read-write`,
 * because events cannot be stored on a standby. An unknown parameter is refused: a typing error must not turn off TLS.
 */
export interface Host {
  /** Name, address, or the folder of a Unix socket (begins with a slash). */
  readonly host: string;
  readonly port: number;
}

const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export type SslMode = (typeof sslModes)[number];
const sessionTargets = ['any', 'read-write', 'primary'] as const;
export type SessionTarget = (typeof sessionTargets)[number];

export interface Dsn {
  readonly hosts: readonly Host[];
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  readonly sslMode: SslMode;
  /** File of the certificates to trust; `system` means the ones Node.js brings. */
  readonly sslRootCert: string | undefined;
  readonly sslCert: string | undefined;
  readonly sslKey: string | undefined;
  readonly session: SessionTarget;
  readonly applicationName: string | undefined;
  readonly connectTimeoutMs: number | undefined;
  /** Command-line options for the server process, as in `-c geqo=off`. */
  readonly options: string | undefined;
}

const parameters = [
  'host',
  'port',
  'user',
  'password',
  'dbname',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'target_session_attrs',
  'application_name',
  'connect_timeout',
  'options',
] as const;
type Parameter = (typeof parameters)[number];
type Parameters = Partial<Record<Parameter, string>>;

/** Reads a DSN. Throws an Error that says what must hold; it never shows the DSN, which holds a password. */
export function parseDsn(text: string): Dsn {
  const found = /^postgres(?:ql)?:\/\//.test(text) ? fromUrl(text) : fromPairs(text);
  const hosts = hostsOf(found.host ?? 'localhost', found.port ?? '');
  const timeout = found.connect_timeout === undefined ? undefined : Number(found.connect_timeout) * 1000;
  if (timeout !== undefined && !(timeout >= 0)) throw new Error('connect_timeout must be a number of seconds');
  return {
    hosts,
    user: found.user,
    password: found.password,
    database: found.dbname,
    sslMode: oneOf('sslmode', sslModes, found.sslmode ?? 'prefer'),
    sslRootCert: found.sslrootcert,
    sslCert: found.sslcert,
    sslKey: found.sslkey,
    session: oneOf(
      'target_session_attrs',
      sessionTargets,
      found.target_session_attrs ?? (hosts.length > 1 ? 'read-write' : 'any'),
    ),
    applicationName: found.application_name,
    connectTimeoutMs: timeout === 0 ? undefined : timeout,
    options: found.options,
  };
}

function fromUrl(text: string): Parameters {
  // Not `new URL`: it takes neither several hosts nor a bare socket folder.
  const match = /^postgres(?:ql)?:\/\/(?:([^/?#]*)@)?([^/?#@]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(text);
  if (match === null)
    throw new Error('a DSN must read postgres://user:password@host:port,host:port/database?name=value');
  const [, login, authority = '', database, query] = match;
  const found: Parameters = {};
  if (login !== undefined) {
    const colon = login.indexOf(':');
    put(found, 'user', decode(colon < 0 ? login : login.slice(0, colon)));
    if (colon >= 0) put(found, 'password', decode(login.slice(colon + 1)));
  }
  if (authority !== '') {
    const pairs = authority.split(',').map(splitHost);
    put(found, 'host', pairs.map(({ host }) => decode(host)).join(','));
    put(found, 'port', pairs.map(({ port }) => port).join(','));
  }
  if (database) put(found, 'dbname', decode(database));
  for (const pair of query?.split('&').filter((part) => part !== '') ?? []) {
    const equals = pair.indexOf('=');
    if (equals < 0) throw new Error('a DSN parameter must read name=value');
    put(found, nameOf(decode(pair.slice(0, equals))), decode(pair.slice(equals + 1)));
  }
  return found;
}

function splitHost(text: string): { host: string; port: string } {
  const match = /^(\[[^\]]+\]|[^:]*)(?::(\d*))?$/.exec(text);
  if (match === null) throw new Error('a DSN host must read host, host:port or [address]:port');
  return { host: match[1]!.replace(/^\[(.*)\]$/, '$1'), port: match[2] ?? '' };
}

function fromPairs(text: string): Parameters {
  const found: Parameters = {};
  const pair = /\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.|'')*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)/gy;
  const end = text.trimEnd().length;
  while (pair.lastIndex < end) {
    const match = pair.exec(text);
    if (match === null)
      throw new Error("a DSN must be a postgres:// URL or pairs like host=... dbname=... password='...'");
    const value = (match[2]?.replaceAll("''", "'") ?? match[3] ?? '').replace(/\\(.)/g, '$1');
    put(found, nameOf(match[1]!), value);
  }
  return found;
}

function nameOf(name: string): Parameter {
  const known = parameters.find((parameter) => parameter === name);
  if (known === undefined) throw new Error(`a DSN parameter must be one of ${parameters.join(', ')}: found=${name}`);
  return known;
}

function put(found: Parameters, name: Parameter, value: string): void {
  if (value.includes('\0')) throw new Error(`${name} must not hold a NUL character`);
  if (value !== '') found[name] = value;
}

function hostsOf(names: string, ports: string): Host[] {
  const hosts = names.split(',');
  const numbers = ports.split(',');
  if (numbers.length !== 1 && numbers.length !== hosts.length) {
    throw new Error(`port must be one for all hosts or one for each: hosts=${hosts.length}, ports=${numbers.length}`);
  }
  return hosts.map((host, index) => {
    const port = (numbers.length === 1 ? numbers[0] : numbers[index]) || '5432';
    if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65535)
      throw new Error('port must be from 1 to 65535');
    return { host: host || 'localhost', port: Number(port) };
  });
}

function oneOf<V extends string>(name: string, values: readonly V[], value: string): V {
  const known = values.find((one) => one === value);
  if (known === undefined) throw new Error(`${name} must be one of ${values.join(', ')}: found=${value}`);
  return known;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error('a DSN must hold % only as part of %XX');
  }
}
