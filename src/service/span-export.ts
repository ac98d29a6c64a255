/**
 * Tracing export, on main: gives the threads' spans to the OpenTelemetry SDK, which batches them and sends them by
 * OTLP. This is the only module that loads the SDK, and it is loaded only when there is an endpoint. A receiver that is
 * away costs spans, never a request: the SDK's queue is bounded (2,048 spans), what does not fit is dropped.
 */
import {
  type Attributes,
  DiagLogLevel,
  diag,
  type HrTime,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace';
import type { Logger } from '../kernel/log.ts';
import type { SpanData, TracingConfig } from '../kernel/tracing.ts';
import { readVersion } from '../kernel/version.ts';

const kinds = { server: SpanKind.SERVER, producer: SpanKind.PRODUCER } as const;
/** Between two exports; what a kill may cost. */
const EXPORT_MS = 1000;
const EXPORT_TIMEOUT_MS = 5000;

export interface TracingExport {
  add(span: SpanData): void;
  /** Sends what is left, for at most `ms`. */
  close(ms: number): Promise<void>;
}

export function openTracingExport(config: TracingConfig, log: Logger): TracingExport {
  const { version } = readVersion();
  diag.setLogger(
    {
      error: (message) => log.warn({ reason: message }, 'spans could not be exported'),
      warn: () => undefined,
      info: () => undefined,
      debug: () => undefined,
      verbose: () => undefined,
    },
    { logLevel: DiagLogLevel.ERROR, suppressOverrideMessage: true },
  );
  const resource = resourceFromAttributes({ 'service.name': config.otelServiceName, 'service.version': version });
  const url = `${config.otelExporterOtlpEndpoint.replace(/\/+$/, '')}/v1/traces`;
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_TIMEOUT_MS });
  const processor = new BatchSpanProcessor({
    exporter,
    scheduledDelayMillis: EXPORT_MS,
    exportTimeoutMillis: EXPORT_TIMEOUT_MS,
  });
  const scope = { name: 'ringmain', version };
  return {
    add(span) {
      processor.onEnd(readable(span, { resource, instrumentationScope: scope }));
    },
    async close(ms) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ms);
      });
      await Promise.race([processor.shutdown().catch(() => undefined), late]);
      clearTimeout(timer);
    },
  };
}

/** A finished span as the SDK's exporters read it. */
function readable(
  { name, kind, context, startMs, endMs, failed, attributes, links }: SpanData,
  from: Pick<ReadableSpan, 'resource' | 'instrumentationScope'>,
): ReadableSpan {
  const sampled = { traceFlags: TraceFlags.SAMPLED };
  const { traceId, spanId, parentSpanId } = context;
  return {
    ...from,
    name,
    kind: kinds[kind],
    spanContext: () => ({ traceId, spanId, ...sampled }),
    ...(parentSpanId !== '' && { parentSpanContext: { traceId, spanId: parentSpanId, isRemote: true, ...sampled } }),
    startTime: hrTime(startMs),
    endTime: hrTime(endMs),
    duration: hrTime(endMs - startMs),
    status: { code: failed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
    attributes: attributes as Attributes,
    links: links.map((link) => ({ context: { ...link, ...sampled } })),
    events: [],
    ended: true,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
