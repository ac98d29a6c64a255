/**
 * Connections: options under the names that the gateway was asked for with (HTTP_HOST, POSTGRES_HOST, CLICKHOUSE_HOST
 * and so on), beside those of the frame (SERVER_ADDR, PG_DSN, CLICKHOUSE_URL). derived() makes the frame's of them
 * before any thread starts, so nothing else has to know both.
 */
import { formatEndpoint, parseEndpoint } from '../http/endpoint.ts';
import { type ConfigOf, defineConfig, duration, integer, secret, text } from '../kernel/config.ts';

/**
 * A port. Kubernetes gives every container of a namespace with a service called postgres a POSTGRES_PORT like
 * tcp://10.0.0.1:5432, so the port of such an address is taken.
 */
const PORT = /^(?:tcp:\/\/[^/]*:)?(\d{1,5})$/;
const portOf = (value: string): number => Number(PORT.exec(value)?.[1] ?? 0);
const port = {
  must: 'a port from 1 to 65535, or an address that ends with one (tcp://10.0.0.1:5432)',
  test: (value: string) => portOf(value) >= 1 && portOf(value) <= 65_535,
};

const host = (yaml: string, doc: string, unset: string) =>
  text({
    yaml,
    doc,
    unset,
    must: 'a host name or an address',
    test: (value) => /^[A-Za-z0-9._-]+$/.test(value) || /^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$/.test(value),
  });

const name = (yaml: string, doc: string, fallback: string) => text({ default: fallback, yaml, doc });

export const connectionsConfig = defineConfig(
  'connections',
  {
    httpHost: host(
      'http.host',
      'Address that the server listens on, in place of those in SERVER_ADDR and REPORTING_ADDR.',
      'those of SERVER_ADDR and REPORTING_ADDR',
    ),
    httpPort: text({
      ...port,
      yaml: 'http.port',
      unset: 'the port of SERVER_ADDR; of REPORTING_ADDR where only reports are served',
      doc:
        'Port that the server listens on, in place of the one in SERVER_ADDR; in a process with the role `reporting` ' +
        'alone, in place of the one in REPORTING_ADDR. Beside other roles reports keep the port of REPORTING_ADDR.',
    }),
    httpReadTimeoutMs: duration({
      env: 'HTTP_READ_TIMEOUT',
      yaml: 'http.read_timeout',
      unitRequired: true,
      min: 10,
      max: 3_600_000,
      unset: 'BODY_TIMEOUT_MS',
      doc:
        'Longest time from the head of a request to the end of its body, in place of BODY_TIMEOUT_MS. More than 10s ' +
        'means 10s, for slower bodies are cut off below HTTP.',
    }),
    httpWriteTimeoutMs: duration({
      env: 'HTTP_WRITE_TIMEOUT',
      yaml: 'http.write_timeout',
      unitRequired: true,
      min: 100,
      max: 3_600_000,
      unset: '10s; 25s for reports, and for the first bytes of an export',
      doc:
        'Longest time from a request to its answer, at the API (receipts too) and at the reports; then 503. What was ' +
        'accepted by then stays accepted. An export that has begun is bounded by its client alone.',
    }),
    postgresHost: host(
      'postgres.host',
      'Host of Postgres. With the other options of this name it makes a connection string where PG_DSN is not set.',
      'PG_DSN is needed',
    ),
    postgresPort: text({ ...port, yaml: 'postgres.port', default: '5432', doc: 'Port of POSTGRES_HOST.' }),
    postgresUser: name('postgres.user', 'User at POSTGRES_HOST.', 'postgres'),
    postgresPassword: secret({
      yaml: 'postgres.password',
      doc: 'Password of POSTGRES_USER.',
      unset: 'no password is sent, or that of PGPASSWORD or of the password file',
    }),
    postgresDatabase: name('postgres.database', 'Database at POSTGRES_HOST.', 'sms'),
    postgresMaxOpenConns: integer({
      default: 8,
      min: 2,
      max: 1000,
      yaml: 'postgres.max_open_conns',
      doc:
        'Most connections to Postgres of a process that answer questions: messages, balances, administration; shared ' +
        'evenly among its acceptors and administration, at least one each. Beside them each acceptor has one that ' +
        'accepts messages, and each worker its own.',
    }),
    postgresMaxIdleConns: integer({
      default: 8,
      min: 0,
      max: 1000,
      yaml: 'postgres.max_idle_conns',
      doc: 'Of them, those that stay open while nobody asks, shared likewise.',
    }),
    clickhouseHost: host(
      'clickhouse.host',
      'Host of ClickHouse (HTTP). With the other options of this name it makes CLICKHOUSE_URL where that is not set.',
      'CLICKHOUSE_URL counts',
    ),
    clickhousePort: text({
      ...port,
      yaml: 'clickhouse.port',
      default: '8123',
      doc: 'Port of CLICKHOUSE_HOST that speaks HTTP.',
    }),
    clickhouseUser: name('clickhouse.user', 'User at CLICKHOUSE_HOST.', 'default'),
    clickhousePassword: secret({
      yaml: 'clickhouse.password',
      doc: 'Password of CLICKHOUSE_USER.',
      unset: 'no password is sent',
    }),
    clickhouseDatabase: name('clickhouse.database', 'Database at CLICKHOUSE_HOST.', 'default'),
  },
  { sharedPrefixes: ['POSTGRES_', 'CLICKHOUSE_', 'HTTP_'] },
);
export type ConnectionsConfig = ConfigOf<typeof connectionsConfig>;

const ANSWER_MS = 10_000;

/** Longest time from a request to its answer: HTTP_WRITE_TIMEOUT. `otherwise`: where nobody has set it. */
export const answerMsMax = (
  { connections }: { readonly connections: Pick<ConnectionsConfig, 'httpWriteTimeoutMs'> },
  otherwise = ANSWER_MS,
): number => connections.httpWriteTimeoutMs ?? otherwise;

/** The body's limit of the frame (http/config.ts). */
const BODY_TIMEOUT_MS_MAX = 10_000;

interface Derivable {
  readonly connections: ConnectionsConfig;
  readonly http: { readonly serverAddr: string; readonly bodyTimeoutMs: number };
  readonly postgres: { readonly pgDsn: string | undefined };
  readonly clickhouse?: { readonly clickhouseUrl: string | undefined };
  readonly reports?: { readonly reportingAddr: string };
}

/** An address with another host, or another port, where they are given. */
function addressWith(address: string, host: string | undefined, port: string | undefined): string {
  if (host === undefined && port === undefined) return address;
  const endpoint = parseEndpoint(address)!;
  return formatEndpoint({ host: host ?? endpoint.host, port: port === undefined ? endpoint.port : portOf(port) });
}

/** The frame's options as those of the other names make them. `roles`: of the process. */
export function derived<V extends Derivable>(
  { connections, http, postgres, clickhouse, reports }: V,
  roles: readonly string[],
): Partial<V> {
  const { httpHost, httpPort, httpReadTimeoutMs } = connections;
  const serverAddr = addressWith(http.serverAddr, httpHost, httpPort);
  const onlyReports = roles.every((role) => role === 'reporting');
  const bodyTimeoutMs = Math.min(httpReadTimeoutMs ?? http.bodyTimeoutMs, BODY_TIMEOUT_MS_MAX);
  return {
    http: { ...http, serverAddr, bodyTimeoutMs },
    postgres: { ...postgres, pgDsn: postgres.pgDsn ?? postgresDsn(connections) },
    ...(reports === undefined
      ? {}
      : {
          reports: {
            ...reports,
            reportingAddr: addressWith(reports.reportingAddr, httpHost, onlyReports ? httpPort : undefined),
          },
        }),
    ...(clickhouse === undefined
      ? {}
      : { clickhouse: { ...clickhouse, clickhouseUrl: clickhouse.clickhouseUrl ?? clickhouseUrl(connections) } }),
  } as unknown as Partial<V>;
}

const authority = (host: string, port: string): string => `${host.includes(':') ? `[${host}]` : host}:${portOf(port)}`;
const login = (user: string, password: string | undefined): string =>
  `${encodeURIComponent(user)}${password === undefined ? '' : `:${encodeURIComponent(password)}`}@`;

function postgresDsn(options: ConnectionsConfig): string | undefined {
  const { postgresHost: host, postgresPort, postgresUser, postgresPassword, postgresDatabase } = options;
  if (host === undefined) return undefined;
  const at = `${login(postgresUser, postgresPassword)}${authority(host, postgresPort)}`;
  return `postgres://${at}/${encodeURIComponent(postgresDatabase)}`;
}

function clickhouseUrl(options: ConnectionsConfig): string | undefined {
  const { clickhouseHost: host, clickhousePort, clickhouseUser, clickhousePassword, clickhouseDatabase } = options;
  if (host === undefined) return undefined;
  const at = `${login(clickhouseUser, clickhousePassword)}${authority(host, clickhousePort)}`;
  return `http://${at}/${encodeURIComponent(clickhouseDatabase)}`;
}

/** Sessions of one acceptor, or of administration: open at most, and idle at most. */
export function sessionsEach(
  { postgresMaxOpenConns, postgresMaxIdleConns }: ConnectionsConfig,
  acceptors: number,
): { readonly sessions: number; readonly idle: number } {
  const share = (all: number): number => Math.floor(all / (acceptors + 1));
  return { sessions: Math.max(1, share(postgresMaxOpenConns)), idle: share(postgresMaxIdleConns) };
}
