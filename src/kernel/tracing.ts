/**
 * Tracing: what every thread needs of it. A thread makes spans as plain data and posts them to main. Only main loads
 * the OpenTelemetry SDK, and only when OTEL_EXPORTER_OTLP_ENDPOINT is set; else a thread holds nothing but the switch.
 *
 *   request    a server span; its parent is the sender's span, named by `traceparent`
 *   record     a sampled request's record ends with trace id and span id (events/record.ts); lane and journal keep them
 *   batch      a sink's span of its own, linked to the sampled requests in it; Kafka records get a `traceparent` header
 *
 * Requests that the sender marked as sampled are traced, and a share of the requests without a mark, together at most
 * TRACE_LIMIT per second, because anybody can send the header.
 */
import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from './clock.ts';
import { type ConfigOf, defineConfig, integer, number, text } from './config.ts';

export const tracingConfig = defineConfig(
  'tracing',
  {
    otelExporterOtlpEndpoint: text({
      default: '',
      must: 'an http or https URL',
      test: isHttpUrl,
      yaml: 'tracing.endpoint',
      doc:
        'Base URL that spans are sent to, as OTLP over HTTP with protobuf; /v1/traces is appended. Empty: no ' +
        'tracing, at no cost. OTEL_EXPORTER_OTLP_HEADERS is honored.',
    }),
    otelServiceName: text({ default: 'ringmain', yaml: 'tracing.service_name', doc: 'service.name of the spans.' }),
    otelTracesSamplerArg: number({
      default: 0.001,
      min: 0,
      max: 1,
      yaml: 'tracing.sample_ratio',
      doc: 'Fraction of the requests without a traceparent that are traced. With one, its sampled flag decides.',
    }),
    traceLimit: integer({
      default: 50,
      min: 1,
      max: 10_000,
      doc: 'Maximum traced requests per second and acceptor, whatever their traceparent says: anybody can send one.',
    }),
  },
  // The SDK reads variables of its own.
  { sharedPrefixes: ['OTEL_'], prefix: 'TRACE_' },
);
export type TracingConfig = ConfigOf<typeof tracingConfig>;

/** A traced request: hexadecimal, lower case. */
export interface TraceContext {
  readonly traceId: string;
  /** Id of the request's own span. */
  readonly spanId: string;
  /** The sender's span; '' when the trace begins here. */
  readonly parentSpanId: string;
}

/** A finished span, as it is posted to main. */
export interface SpanData {
  readonly name: string;
  readonly kind: 'server' | 'producer';
  readonly context: TraceContext;
  /** ms since 1970, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly failed: boolean;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly links: readonly Pick<TraceContext, 'traceId' | 'spanId'>[];
}

/** Thread -> main. */
export interface SpanNews {
  readonly span: SpanData;
}

/** Bytes of a trace id and of a span id, one after the other, where a record carries them. */
export const TRACE_ID_BYTES = 16;
export const SPAN_ID_BYTES = 8;

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** The sender's trace in the spelling of W3C Trace Context; undefined when the header is absent or not valid. */
export function parseTraceparent(
  header: string,
): { readonly traceId: string; readonly spanId: string; readonly sampled: boolean } | undefined {
  const [, version = '', traceId = '', spanId = '', flags = '', more] = TRACEPARENT.exec(header) ?? [];
  if (version === '' || version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** A trace that begins here. */
export function newTrace(): TraceContext {
  return { traceId: randomId(TRACE_ID_BYTES), spanId: randomId(SPAN_ID_BYTES), parentSpanId: '' };
}

function randomId(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

/** Decides which requests are traced. */
export class TraceSampler {
  readonly #share: number;
  readonly #limit: number;
  /** Ms of a clock that is never set. */
  readonly #now: () => number;
  #second = 0;
  #taken = 0;

  constructor(
    config: Pick<TracingConfig, 'otelTracesSamplerArg' | 'traceLimit'>,
    now: () => number = systemClock.elapsed,
  ) {
    this.#share = config.otelTracesSamplerArg;
    this.#limit = config.traceLimit;
    this.#now = now;
  }

  /** `traceparent`: the request's header, '' when it has none. Undefined: not traced. */
  sample(traceparent: string): TraceContext | undefined {
    const parent = traceparent === '' ? undefined : parseTraceparent(traceparent);
    if (parent === undefined ? Math.random() >= this.#share : !parent.sampled) return undefined;
    const second = Math.floor(this.#now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#taken = 0;
    }
    if (this.#taken >= this.#limit) return undefined;
    this.#taken += 1;
    if (parent === undefined) return newTrace();
    return { traceId: parent.traceId, spanId: randomId(SPAN_ID_BYTES), parentSpanId: parent.spanId };
  }
}

/** The times of a span. It begins by the wall clock and lasts by the one that is never set. */
export interface SpanTimes {
  readonly startMs: number;
  /** When it ends, if it ends now. */
  endMs(): number;
}

export function beginSpan(clock: Clock = systemClock): SpanTimes {
  const startMs = clock.now();
  const began = clock.elapsed();
  return { startMs, endMs: () => startMs + clock.elapsed() - began };
}

function isHttpUrl(value: string): boolean {
  return value === '' || (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol));
}
