/** HTTP sink: its options. */
import { bytes, type ConfigOf, defineConfig, duration, integer, KiB, MiB, path, secret } from '../../kernel/config.ts';

export const httpSinkConfig = defineConfig(
  'httpSink',
  {
    httpSinkUrl: secret({
      doc: 'http or https URL that batches are posted to. It may contain user:password@ and tokens, so it is masked.',
      unset: 'required when OUTPUTS includes http',
      must: 'an http or https URL',
      test: isHttpUrl,
    }),
    httpSinkSecret: secret({
      doc:
        'Key that signs every request: Ringmain-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 over ' +
        '"<t>.<body>">. The receiver verifies it and rejects an old t.',
      unset: 'requests are not signed',
    }),
    httpSinkAuthorization: secret({
      doc: 'Value of the Authorization header, for example "Bearer abc".',
      unset: 'no such header',
    }),
    httpSinkTlsCa: path({
      doc: 'PEM file with the CA certificates to trust instead of those that come with Node.js.',
      unset: 'those that come with Node.js',
    }),
    httpSinkBatchSize: integer({ default: 500, min: 1, max: 100_000, doc: 'Maximum events per request.' }),
    httpSinkBatchBytes: bytes({
      default: 1 * MiB,
      min: 4 * KiB,
      max: 64 * MiB,
      doc:
        'Maximum size of a request, unless a single event is larger. Receivers have limits: 1 MiB passes nearly ' +
        'everywhere.',
    }),
    httpSinkFlushMs: duration({
      default: 500,
      min: 1,
      doc: 'Maximum time an event waits for others to share its request.',
    }),
    httpSinkConnections: integer({
      default: 1,
      min: 1,
      max: 64,
      doc:
        "Number of concurrent requests. With one, the receiver gets each acceptor's events in order; with more, " +
        'it may not.',
    }),
    httpSinkTimeoutMs: duration({
      default: 10_000,
      min: 10,
      doc: 'Maximum time from the first byte sent to the end of the answer; then the request is sent again.',
    }),
    httpSinkRetryAfterMaxMs: duration({
      default: 60_000,
      min: 0,
      doc: 'Maximum Retry-After that is honored, so that a receiver cannot stop the sink for a day.',
    }),
  },
  {
    // HTTP_PROXY and similar variables belong to other programs.
    sharedPrefixes: ['HTTP_'],
    check: ({ httpSinkUrl }, all) => {
      const outputs = (all['sinks']?.['outputs'] as readonly string[] | undefined) ?? [];
      return httpSinkUrl === undefined && outputs.includes('http')
        ? ['HTTP_SINK_URL must be set when OUTPUTS includes http']
        : [];
    },
  },
);
export type HttpSinkConfig = ConfigOf<typeof httpSinkConfig>;

export function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
