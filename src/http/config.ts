/**
 * HTTP config: where the server listens, whom it believes about client addresses, and how much a request may cost. The
 * addon's built-in limits (request head 32 KiB, idle 10 s, body 16 KB/s) are no options; README.md of this room lists
 * them.
 */
import {
  bool,
  bytes,
  type ConfigOf,
  defineConfig,
  duration,
  integer,
  list,
  MiB,
  path,
  Refused,
  text,
} from '../kernel/config.ts';
import { trustProblem, trustsNobody } from './client-address.ts';
import { originProblem } from './cors.ts';
import { endpointProblem } from './endpoint.ts';

const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/;

/** Bytes of a request's line and headers, at most; what lies above is answered 431. */
export const HEAD_BYTES_MAX = 32 * 1024;

export const httpConfig = defineConfig(
  'http',
  {
    serverAddr: text({
      default: ':19890',
      must: 'host:port, :port or [v6]:port',
      test: (value) => endpointProblem(value) === undefined,
      doc: 'Address the server listens on. Without a host, it listens on all addresses, IPv4 and IPv6.',
    }),
    adminAddr: text({
      default: '',
      must: 'host:port, :port or [v6]:port',
      test: (value) => endpointProblem(value) === undefined,
      doc:
        'Separate address for /healthz, /readyz and /metrics, which SERVER_ADDR then no longer serves. Empty: ' +
        'SERVER_ADDR serves them.',
    }),
    maxBodyBytes: bytes({
      default: 1 * MiB,
      min: 1,
      max: 64 * MiB,
      doc:
        'Maximum body size, inclusive, before and after decompression. A larger body gets 413, before it is read ' +
        'if Content-Length says so.',
    }),
    bodyMemoryBytes: bytes({
      default: 64 * MiB,
      min: 1 * MiB,
      doc:
        'Memory per acceptor for bodies that arrive in pieces. When it is used up, further bodies get 503 with ' +
        'Retry-After, bodies of events 429.',
    }),
    bodyTimeoutMs: duration({
      default: 7500,
      min: 10,
      max: 10_000,
      doc:
        'Maximum time from the request head to the end of the body; then 408. uWebSockets.js itself closes a ' +
        'connection whose body stalls for 8 to 12 s, without an answer.',
    }),
    maxConnections: integer({
      default: 100_000,
      min: 1,
      doc:
        'Maximum open connections of the process, shared evenly among acceptors; lower if the open-file limit ' +
        'leaves room for fewer. Further connections are closed at once and counted, except for a small reserve ' +
        'that answers probes. Each connection may hold 32 KiB of an unfinished request head.',
    }),
    corsOrigins: list({
      default: ['*'],
      must: 'origins like https://example.com or https://*.example.com, or only *',
      test: (value) => {
        const problem = originProblem(value);
        if (problem !== undefined) throw new Refused(problem);
        return true;
      },
      doc:
        'Origins whose pages may call this server and read its answers. *: every page, with credentials only on the ' +
        'routes that take events (/px.gif, /collect, /events). A list: only those pages, with credentials; others ' +
        'get 403. ' +
        'https://*.example.com: every host below the domain, but not the domain itself. null: sandboxed pages and ' +
        'local files, on the routes that take events.',
    }),
    trustProxy: text({
      default: 'false',
      must: 'false, true, a number of proxies, or a comma-separated list of addresses and CIDR ranges',
      test: (value) => trustProblem(value) === undefined,
      doc:
        'Where the client address comes from. false: the socket. true: the first entry of X-Forwarded-For. A ' +
        'number: how many proxies stand in front. A list of trusted proxies: the right-most entry that is not on ' +
        'the list.',
    }),
    clientIpHeader: text({
      default: 'x-forwarded-for',
      must: 'a header name',
      test: (value) => HEADER_NAME.test(value),
      doc:
        'Header that TRUST_PROXY reads, for example CF-Connecting-IP, Forwarded (RFC 7239) or ' +
        'CloudFront-Viewer-Address. Requires TRUST_PROXY other than false.',
    }),
    proxyProtocol: bool({
      default: false,
      doc:
        'Take the client address from the PROXY protocol v2 header of a load balancer instead of from the socket. ' +
        'Each connection then serves one request, because a client could send such a header, too, after its first ' +
        'request.',
    }),
    tlsCert: path({
      doc:
        'PEM file with the certificate chain. Together with TLS_KEY it turns on TLS. A renewed file is loaded on ' +
        'SIGHUP or within a minute, without a restart.',
      unset: 'no TLS',
    }),
    tlsKey: path({ doc: 'PEM file with the private key of TLS_CERT.', unset: 'no TLS' }),
    enableHttps: bool({
      default: false,
      doc:
        'Require TLS: without a certificate and its key, the start fails. SSL_CERT_FILE and SSL_KEY_FILE are read ' +
        'only with this option.',
    }),
    sslCertFile: path({
      doc:
        "Alias of TLS_CERT, read only with ENABLE_HTTPS=true, because the variable usually means OpenSSL's CA " +
        'bundle.',
      unset: 'TLS_CERT applies',
    }),
    sslKeyFile: path({ doc: 'Alias of TLS_KEY, read only with ENABLE_HTTPS=true.', unset: 'TLS_KEY applies' }),
  },
  {
    check: (values) => {
      const problems: string[] = [];
      const cert = values.tlsCert ?? (values.enableHttps ? values.sslCertFile : undefined);
      const key = values.tlsKey ?? (values.enableHttps ? values.sslKeyFile : undefined);
      if ((cert === undefined) !== (key === undefined))
        problems.push('TLS_CERT and TLS_KEY must be set together: only one is set');
      if (values.enableHttps && cert === undefined && key === undefined)
        problems.push('ENABLE_HTTPS requires TLS_CERT and TLS_KEY: neither is set');
      if (values.proxyProtocol && tlsFiles(values) !== undefined) {
        problems.push(
          'PROXY_PROTOCOL must be false when TLS ends here: uWebSockets.js reads its header only after the handshake',
        );
      }
      if (values.corsOrigins.includes('*') && values.corsOrigins.length > 1) {
        problems.push(`CORS_ORIGINS must be either * or a list without it: found=${values.corsOrigins.join(',')}`);
      }
      if (trustsNobody(values.trustProxy) && values.clientIpHeader !== 'x-forwarded-for') {
        problems.push(
          `CLIENT_IP_HEADER requires TRUST_PROXY: found=${values.clientIpHeader} ` +
            `with TRUST_PROXY=${values.trustProxy}`,
        );
      }
      return problems;
    },
    sharedPrefixes: ['SSL_'],
  },
);
export type HttpConfig = ConfigOf<typeof httpConfig>;

/** Certificate and key when TLS ends in this process. */
export function tlsFiles(http: HttpConfig): { readonly cert: string; readonly key: string } | undefined {
  const cert = http.tlsCert ?? (http.enableHttps ? http.sslCertFile : undefined);
  const key = http.tlsKey ?? (http.enableHttps ? http.sslKeyFile : undefined);
  return cert === undefined || key === undefined ? undefined : { cert, key };
}
