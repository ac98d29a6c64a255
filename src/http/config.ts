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

export const httpConfig = defineConfig(
  'http',
  {
    serverAddr: text({
      default: ':19890',
      must: 'host:port, :port or [v6]:port',
      test: (value) => endpointProblem(value) === undefined,
      doc: 'Address that the server listens on. Without a host: all addresses, IPv4 and IPv6.',
    }),
    adminAddr: text({
      default: '',
      must: 'host:port, :port or [v6]:port',
      test: (value) => endpointProblem(value) === undefined,
      doc:
        'Address of its own for /healthz, /readyz and /metrics, which then leave SERVER_ADDR. Empty: they stay ' +
        'there.',
    }),
    maxBodyBytes: bytes({
      default: 1 * MiB,
      min: 1,
      max: 64 * MiB,
      doc:
        'Largest body, inclusive, before and after decompression. A larger one is answered 413, before it is read ' +
        'when Content-Length says so.',
    }),
    bodyMemoryBytes: bytes({
      default: 64 * MiB,
      min: 1 * MiB,
      doc:
        'Memory of one acceptor for bodies that arrive in pieces. When it is used up, further ones are answered 429 ' +
        'with Retry-After.',
    }),
    bodyTimeoutMs: duration({
      default: 7500,
      min: 10,
      max: 10_000,
      doc:
        'Time from the head of a request to the end of its body; then 408. The addon itself closes a body that ' +
        'stands still for 8 to 12 s, without an answer.',
    }),
    maxConnections: integer({
      default: 100_000,
      min: 1,
      doc:
        'Open connections of the process, shared evenly by the acceptors; fewer when the limit of open files leaves ' +
        'fewer. One more is closed at once and counted, but for a small reserve that answers probes. Each may hold ' +
        '32 KiB of a request head.',
    }),
    corsOrigins: list({
      default: ['*'],
      must: '* or an origin like https://example.com or https://*.example.com',
      test: (value) => {
        const problem = originProblem(value);
        if (problem !== undefined) throw new Refused(problem);
        return true;
      },
      doc:
        'Origins of pages that may send, and read the answer. *: every page, on the intake routes (/px.gif, ' +
        '/collect) with credentials. A list: those pages, with credentials; others are answered 403. ' +
        'https://*.example.com: every host below the domain, not itself. null: sandboxed pages and local files, on ' +
        'the intake routes.',
    }),
    trustProxy: text({
      default: 'false',
      must: 'false, true, a number of proxies, or addresses and CIDR ranges with commas between',
      test: (value) => trustProblem(value) === undefined,
      doc:
        'Whom to believe about the client address. false: the socket. true: the first entry of X-Forwarded-For. A ' +
        'number: so many proxies stand in front. A list: the right-most entry that is not in it.',
    }),
    clientIpHeader: text({
      default: 'x-forwarded-for',
      must: 'the name of a header',
      test: (value) => HEADER_NAME.test(value),
      doc:
        'Header that TRUST_PROXY reads, for example CF-Connecting-IP, Forwarded (RFC 7239) or ' +
        'CloudFront-Viewer-Address. Needs TRUST_PROXY other than false.',
    }),
    proxyProtocol: bool({
      default: false,
      doc:
        'Take the address that a load balancer gives by PROXY protocol v2 for the address of the socket. Each ' +
        'connection then carries one request, because a client may send such a header, too, behind its first request.',
    }),
    tlsCert: path({
      doc:
        'PEM file with the certificate chain. With TLS_KEY it turns on TLS; a renewed file is taken on SIGHUP or ' +
        'within a minute, without a restart.',
      unset: 'no TLS',
    }),
    tlsKey: path({ doc: 'PEM file with the private key of TLS_CERT.', unset: 'no TLS' }),
    enableHttps: bool({
      default: false,
      doc:
        'Says that TLS is wanted: the start is refused without a certificate and its key. SSL_CERT_FILE and ' +
        'SSL_KEY_FILE count only with it.',
    }),
    sslCertFile: path({
      doc:
        'Another name for TLS_CERT, read only with ENABLE_HTTPS=true: elsewhere the variable means the CA bundle of ' +
        'OpenSSL.',
      unset: 'TLS_CERT counts',
    }),
    sslKeyFile: path({ doc: 'Another name for TLS_KEY, read only with ENABLE_HTTPS=true.', unset: 'TLS_KEY counts' }),
  },
  {
    check: (values) => {
      const problems: string[] = [];
      const cert = values.tlsCert ?? (values.enableHttps ? values.sslCertFile : undefined);
      const key = values.tlsKey ?? (values.enableHttps ? values.sslKeyFile : undefined);
      if ((cert === undefined) !== (key === undefined))
        problems.push('TLS_CERT and TLS_KEY must be set together: found one of them');
      if (values.enableHttps && cert === undefined && key === undefined)
        problems.push('ENABLE_HTTPS must come with TLS_CERT and TLS_KEY: found neither');
      if (values.proxyProtocol && tlsFiles(values) !== undefined) {
        problems.push(
          'PROXY_PROTOCOL must be false when TLS ends here: the addon reads its header only behind the handshake',
        );
      }
      if (values.corsOrigins.includes('*') && values.corsOrigins.length > 1) {
        problems.push(`CORS_ORIGINS must be * alone or a list without it: found=${values.corsOrigins.join(',')}`);
      }
      if (trustsNobody(values.trustProxy) && values.clientIpHeader !== 'x-forwarded-for') {
        problems.push(
          `CLIENT_IP_HEADER must come with TRUST_PROXY: found=${values.clientIpHeader} ` +
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
