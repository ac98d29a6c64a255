/** HTTP sink: its options. */
import { bytes, type ConfigOf, defineConfig, duration, integer, KiB, MiB, path, secret } from '../../kernel/config.ts';

export const httpSinkConfig = defineConfig(
  'httpSink',
  {
    httpSinkUrl: secret({
      doc: 'Where batches are posted: an http or https URL. It may hold user:password@ and tokens, so it is masked.',
      unset: 'needed when OUTPUTS names http',
      must: 'an http or https URL',
      test: isHttpUrl,
    }),
    httpSinkSecret: secret({
      doc:
        'Key of the signature that every request carries: Ringmain-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 ' +
        'over "<t>.<body>">. The receiver compares it and refuses an old t.',
      unset: 'requests are not signed',
    }),
    httpSinkAuthorization: secret({
      doc: 'Value of an Authorization header, as in "Bearer abc".',
      unset: 'no such header',
    }),
    httpSinkTlsCa: path({
      doc: 'File of the certificates (PEM) to trust instead of the ones that Node.js brings.',
      unset: "Node.js's own list",
    }),
    httpSinkBatchSize: integer({ default: 500, min: 1, max: 100_000, doc: 'Most events of one request.' }),
    httpSinkBatchBytes: bytes({
      default: 1 * MiB,
      min: 4 * KiB,
      max: 64 * MiB,
      doc:
        'Most bytes of one request, as far as single events allow it. Receivers have limits: 1 MiB passes nearly ' +
        'everywhere.',
    }),
    httpSinkFlushMs: duration({
      default: 500,
      min: 1,
      doc: 'Longest wait of an event for others to share its request.',
    }),
    httpSinkConnections: integer({
      default: 1,
      min: 1,
      max: 64,
      doc:
        "Requests under way at once. With one, the receiver gets each collector thread's events in order; with more " +
        'it may not.',
    }),
    httpSinkTimeoutMs: duration({
      default: 10_000,
      min: 10,
      doc: 'Longest wait for a whole answer, from the first byte sent. Then the request is sent again.',
    }),
    httpSinkRetryAfterMaxMs: duration({
      default: 60_000,
      min: 0,
      doc: 'Longest Retry-After that is obeyed: a receiver must not be able to stop the sink for a day.',
    }),
  },
  {
    // HTTP_PROXY and similar variables belong to other programs.
    sharedPrefixes: ['HTTP_'],
    check: ({ httpSinkUrl }, all) => {
      const outputs = (all['sinks']?.['outputs'] as readonly string[] | undefined) ?? [];
      return httpSinkUrl === undefined && outputs.includes('http')
        ? ['HTTP_SINK_URL must be set when OUTPUTS names http: found none']
        : [];
    },
  },
);
export type HttpSinkConfig = ConfigOf<typeof httpSinkConfig>;

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
