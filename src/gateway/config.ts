/** Gateway config: the service's own options, beside those of the frame. */
import { adminKeyOption } from '../access/admin-key.ts';
import { accessConfig } from '../access/config.ts';
import { parseEndpoint } from '../http/endpoint.ts';
import {
  bool,
  bytes,
  type ConfigOf,
  defineConfig,
  duration,
  GiB,
  integer,
  KiB,
  list,
  MiB,
  oneOf,
  path,
  secret,
  structure,
  text,
} from '../kernel/config.ts';
import { isHttpUrl } from '../sinks/http/config.ts';
import { postgresConfig } from '../sinks/postgres/config.ts';
import { type GivenBackend, parseBackends } from './balance/backend-option.ts';
import { prefixProblem } from './images/sources.ts';

const HEX = 'hexadecimal digits, two for each byte';
const isHex = (text: string): boolean => /^(?:[0-9a-f]{2})+$/i.test(text);

export const gatewayConfig = defineConfig(
  'gateway',
  {
    adminKey: adminKeyOption(
      'Key of administrators (`Authorization: Bearer`) for users, keys, limits, backends and logs; while it is set, ' +
        'keys with the scope `admin` open the same.',
      "the administrators' routes and /admin are off; the command line still changes everything",
    ),
    serverPort: integer({
      min: 1,
      max: 65_535,
      yaml: 'server.port',
      doc: 'Port that the server listens on, in place of the one in SERVER_ADDR.',
      unset: 'the port of SERVER_ADDR',
    }),
    ipRequestsPerMinute: integer({
      default: 100,
      min: 1,
      yaml: 'rate_limits.ip_level.requests_per_minute',
      doc: 'Requests of an address in a minute that come without a valid key. IPv6: of a /64.',
    }),
    userRequestsPerMinute: integer({
      default: 1000,
      min: 1,
      yaml: 'rate_limits.user_level.requests_per_minute',
      doc: 'Requests of a user in a minute, where the user has no limit per minute of its own.',
    }),
    rateLimitEntries: integer({
      default: 262_144,
      min: 1024,
      max: 16_777_216,
      doc:
        'Addresses that are counted at the same time, and apart from them windows of users and keys; 17 bytes for each. ' +
        'Beyond it those are forgotten that would be forgiven first.',
    }),
    uploadDir: path({
      default: 'uploads',
      doc: 'Folder of uploads, which is the root of local:/// in imgproxy (IMGPROXY_LOCAL_FILESYSTEM_ROOT).',
    }),
    uploadMaxBytes: bytes({ default: 20 * MiB, min: 1, max: 4 * GiB, doc: 'Largest upload.' }),
    uploadMaxPixels: integer({
      default: 50_000_000,
      min: 1,
      max: 4_000_000_000,
      doc: 'Most pixels of an upload, by its header: a small file may unpack into more than any memory holds.',
    }),
    readTimeoutMs: duration({
      env: 'SERVER_READ_TIMEOUT',
      yaml: 'server.read_timeout',
      unitRequired: true,
      default: 30_000,
      min: 100,
      max: 3_600_000,
      doc: 'Longest time from the head of a request to the end of its body.',
    }),
    writeTimeoutMs: duration({
      env: 'SERVER_WRITE_TIMEOUT',
      yaml: 'server.write_timeout',
      unitRequired: true,
      default: 30_000,
      min: 100,
      max: 3_600_000,
      doc: 'Longest time from the end of a request to the end of its answer.',
    }),
    signedUrlMaxAgeMs: duration({
      default: 7 * 86_400_000,
      min: 1000,
      max: 3650 * 86_400_000,
      doc: 'Longest life of a signed URL: one whose end is further away is refused.',
    }),
    databaseDriver: oneOf(['postgres'], {
      default: 'postgres',
      env: 'DB_DRIVER',
      yaml: 'database.driver',
      doc: 'Database of users, keys, usage and logs. Only Postgres has what exact usage needs: one transaction per batch.',
    }),
    databaseMaxConnections: integer({
      default: 4,
      min: 1,
      max: 100,
      env: 'DB_MAX_CONNECTIONS',
      yaml: 'database.max_connections',
      doc:
        'Most connections to Postgres that answer administrators, uploads and usage; no picture waits for one. ' +
        'Beside them a process has two each for owners of pictures and for questions about the log, and one each for ' +
        'writing the log, for changes of the tables and for jobs.',
    }),
    redisAddr: text({
      yaml: 'redis.addr',
      must: 'host:port or [v6]:port',
      test: (value) => (parseEndpoint(value)?.host ?? '') !== '',
      doc: 'Redis that makes limits exact over several gateways. Away: each process limits by itself, and says so.',
      unset: 'the limits of a process are its own',
    }),
    redisUsername: text({ doc: 'User of Redis, where it has users (ACL).', unset: 'the default user' }),
    redisPassword: secret({ yaml: 'redis.password', doc: 'Password of Redis.', unset: 'no password is sent' }),
    redisDb: integer({ default: 0, min: 0, max: 65_535, yaml: 'redis.db', doc: 'Number of the database in Redis.' }),
    redisPrefix: text({
      default: 'ringmain',
      yaml: 'redis.prefix',
      must: 'up to 64 letters, digits, and _ . : -',
      test: (value) => /^[\w.:-]{1,64}$/.test(value),
      doc: 'What names of keys in Redis begin with. Gateways of one database share it; those of another need another.',
    }),
    redisTls: bool({
      default: false,
      doc: 'Redis is reached by TLS, and its certificate is checked. REDIS_TLS_CA turns it on, too.',
    }),
    redisTlsCa: path({
      doc: 'PEM file with the certificate authorities that the certificate of Redis is checked against.',
      unset: "the system's",
    }),
    redisTimeoutMs: duration({
      default: 100,
      min: 10,
      max: 5000,
      doc: 'Longest wait for a decision of Redis; then the process decides by itself.',
    }),
    backends: structure({
      default: [] as readonly GivenBackend[],
      yaml: 'backends',
      must: 'a list of {url, weight}',
      parse: parseBackends,
      doc:
        'Backends that an empty table begins with, as JSON: [{"url": "http://imgproxy:8080", "weight": 1}]. Once the ' +
        'table has a row, only the API and `ringmain gateway backend` change it.',
    }),
    backendConcurrency: integer({
      default: 64,
      min: 1,
      max: 100_000,
      doc: 'Most requests at once at one backend, of all threads; further ones wait.',
    }),
    backendQueue: integer({
      default: 1000,
      min: 0,
      max: 1_000_000,
      doc: 'Most requests that wait for a place at a backend, of all threads; further ones are refused with 503.',
    }),
    backendQueueMs: duration({
      default: 3000,
      min: 1,
      max: 3_600_000,
      doc: 'Longest wait for a place at a backend; then 503, and at once when none will be free in time.',
    }),
    backendCheckIntervalMs: duration({
      env: 'BACKEND_CHECK_INTERVAL',
      unitRequired: true,
      default: 5000,
      min: 100,
      max: 3_600_000,
      doc: 'Between two checks (GET /health) of a backend. Three bad ones in a row take it out, two good ones bring it back.',
    }),
    backendCheckTimeoutMs: duration({
      env: 'BACKEND_CHECK_TIMEOUT',
      unitRequired: true,
      default: 2000,
      min: 10,
      max: 60_000,
      doc: 'Longest time for the answer to a check.',
    }),
    backendFailures: integer({
      default: 5,
      min: 1,
      max: 1000,
      doc: 'Failures in a row (5xx, time-outs, no connection) that eject a backend, unless it is the last one.',
    }),
    backendEjectMs: duration({
      default: 10_000,
      min: 100,
      max: 3_600_000,
      doc: 'Time of an ejection; doubled with each one in a row, up to 32 times. Then one request decides.',
    }),
    backendSlowStartMs: duration({
      default: 10_000,
      min: 1,
      max: 3_600_000,
      doc: 'Time in which the share of a backend that has come back grows from a tenth to the whole.',
    }),
    backendRetryPercent: integer({
      default: 20,
      min: 0,
      max: 100,
      doc: 'Retries at another backend, in percent of the requests; only before the first byte of an answer.',
    }),
    backendConnectMs: duration({
      default: 2000,
      min: 10,
      max: 60_000,
      doc: 'Longest time to connect to a backend.',
    }),
    backendHeadMs: duration({
      default: 12_000,
      min: 10,
      max: 3_600_000,
      doc: 'Longest time from a request at a backend to the head of its answer; then another one is tried, or 504.',
    }),
    backendBodyMs: duration({
      default: 10_000,
      min: 10,
      max: 3_600_000,
      doc: "Longest pause of a backend within an answer's body.",
    }),
    minRateBytes: bytes({
      default: 4 * KiB,
      min: 0,
      max: 1 * GiB,
      doc:
        'Least bytes in a second, on average since its beginning, of a body in either direction; after 10 s a slower one ' +
        'ends with 408, or its connection is closed.',
    }),
    accessLog: bool({
      default: false,
      doc: 'Writes a line for each request to the log, with its status, time and bytes.',
    }),
    logRetentionDays: integer({
      default: 90,
      min: 1,
      max: 36_500,
      doc: 'Days that request_logs are kept; months that ended before them are dropped.',
    }),
    quotaWebhookUrl: secret({
      doc:
        'http or https URL that gets a POST when a user has used 80 and 100 % of a quota of the month. It may contain ' +
        'tokens, so it is masked.',
      unset: 'nobody is told',
      must: 'an http or https URL',
      test: isHttpUrl,
    }),
    quotaWebhookSecret: secret({
      doc:
        'Key that signs these messages: Ringmain-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 over ' +
        '"<t>.<body>">.',
      unset: 'they are not signed',
    }),
    imgproxyKey: secret({
      must: HEX,
      test: isHex,
      doc: 'Key that paths for imgproxy are signed with: the value of IMGPROXY_KEY there.',
      unset: 'paths go to imgproxy unsigned, which must then let nobody else in',
    }),
    imgproxySalt: secret({
      must: HEX,
      test: isHex,
      doc: 'Salt of those signatures: the value of IMGPROXY_SALT there.',
      unset: 'as without IMGPROXY_KEY',
    }),
    imgproxySecret: secret({
      doc: 'Token that imgproxy asks for (`Authorization: Bearer`): the value of IMGPROXY_SECRET there.',
      unset: 'none is sent',
    }),
    cacheDir: path({
      default: 'cache',
      doc: 'Folder of pictures that imgproxy has made. What is in it may be deleted at any time.',
    }),
    cacheMemoryBytes: bytes({
      default: 64 * MiB,
      min: 0,
      max: 1024 * GiB,
      doc: 'Most bytes of these pictures in memory, of all threads together.',
    }),
    cacheDiskBytes: bytes({
      default: 4 * GiB,
      min: 1 * MiB,
      max: 1024 * GiB,
      doc: 'Most bytes of these pictures in CACHE_DIR; beyond it those go that were used longest ago.',
    }),
    cacheEntryMaxBytes: bytes({
      default: 4 * MiB,
      min: 1 * KiB,
      max: 256 * MiB,
      doc:
        'Largest picture that is kept; a larger one is made again for those who come later, and sent from a file ' +
        'in CACHE_DIR to those who wait for it.',
    }),
    cacheTtlMs: duration({
      env: 'CACHE_TTL',
      unitRequired: true,
      default: 86_400_000,
      min: 0,
      max: 30 * 86_400_000,
      doc: 'How long a picture is fresh when imgproxy says nothing of it (Cache-Control, Expires).',
    }),
    cacheStaleMs: duration({
      env: 'CACHE_STALE',
      unitRequired: true,
      default: 60_000,
      min: 0,
      max: 30 * 86_400_000,
      doc:
        'How long after that it is served at once while it is asked for again, unless its Cache-Control says ' +
        'otherwise (stale-while-revalidate, no-cache, must-revalidate, s-maxage).',
    }),
    cacheStaleErrorMs: duration({
      env: 'CACHE_STALE_ERROR',
      unitRequired: true,
      default: 86_400_000,
      min: 0,
      max: 30 * 86_400_000,
      doc:
        'How long after that it is served when no backend can make it anew, unless its Cache-Control says ' +
        'otherwise (stale-if-error, no-cache, must-revalidate, s-maxage).',
    }),
    allowedSources: list({
      default: [],
      doc:
        'Prefixes of sources that every user may have resized beside the own uploads: https://pics.example.com/. ' +
        'imgproxy follows redirects of these servers, also to addresses inside: set IMGPROXY_MAX_REDIRECTS=0 there.',
    }),
  },
  {
    check: ({ imgproxyKey, imgproxySalt, allowedSources }) => [
      ...((imgproxyKey === undefined) === (imgproxySalt === undefined)
        ? []
        : ['IMGPROXY_KEY and IMGPROXY_SALT must be set together, or neither of them']),
      ...allowedSources.flatMap((prefix) => prefixProblem(prefix) ?? []),
    ],
  },
);
export type GatewayConfig = ConfigOf<typeof gatewayConfig>;

export const gatewayConfigs = [gatewayConfig, accessConfig, postgresConfig] as const;
