/**
 * Tracing: the real collector, a receiver of OTLP/HTTP, a real Kafka. A sampled request is a span under its sender's; the batch that delivers its
 * event is a span linked to it; the Kafka record carries its traceparent, also when the batch is delivered by the next life.
 */

import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { Kafka, logLevel } from 'kafkajs';
import { expect, test, vi } from 'vitest';
import type { MountedRoute } from '../../src/http/router.ts';
import { parseTraceparent, type SpanData, TraceSampler } from '../../src/kernel/tracing.ts';
import { RequestTracing } from '../../src/service/request-tracing.ts';
import { startKafka } from '../servers/kafka.ts';
import { collectorFolder, eventsIn, startCollector } from './collector.ts';
import { type Received, startOtlpReceiver } from './otlp-receiver.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const traceparent = (n: number, flags = '01') =>
  `00-${TRACE.slice(0, 28)}${String(n).padStart(4, '0')}-${PARENT}-${flags}`;
const traceOf = (n: number) => `${TRACE.slice(0, 28)}${String(n).padStart(4, '0')}`;

test('a traceparent is read as the standard says, and a bad one is none', () => {
  assert.deepEqual(parseTraceparent(`00-${TRACE}-${PARENT}-01`), { traceId: TRACE, spanId: PARENT, sampled: true });
  assert.equal(parseTraceparent(`00-${TRACE}-${PARENT}-00`)?.sampled, false);
  assert.equal(parseTraceparent(`cc-${TRACE}-${PARENT}-03-what-comes-later`)?.sampled, true);
  for (const bad of [
    '',
    'x',
    `ff-${TRACE}-${PARENT}-01`,
    `00-${TRACE}-${PARENT}-01-more`,
    `00-${TRACE.toUpperCase()}-${PARENT}-01`,
    `00-${'0'.repeat(32)}-${PARENT}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}-${PARENT}-1`,
    `00-${TRACE}-${PARENT}-01\u0000`,
  ])
    assert.equal(parseTraceparent(bad), undefined, bad);
});

test('the sampler obeys the flag, takes a share of the rest, and no more than the limit, whoever asks', () => {
  let now = 5_000;
  const sampler = new TraceSampler({ otelTracesSamplerArg: 0, traceLimit: 3 }, () => now);
  assert.equal(sampler.sample(''), undefined);
  assert.equal(sampler.sample(traceparent(1, '00')), undefined);
  const taken = Array.from({ length: 10 }, (_, n) => sampler.sample(traceparent(n)));
  assert.equal(taken.filter(Boolean).length, 3);
  assert.equal(taken[0]?.parentSpanId, PARENT);
  assert.notEqual(taken[0]?.spanId, taken[1]?.spanId);
  now += 1000;
  assert.ok(sampler.sample(traceparent(1)));
  const all = new TraceSampler({ otelTracesSamplerArg: 1, traceLimit: 10 }, () => now);
  assert.equal(all.sample('')?.parentSpanId, '');
  assert.equal(all.sample(traceparent(1, '00')), undefined, 'the sender has decided');
});

test('ids go behind the records of their own request only, also when bodies arrive in pieces and between each other', () => {
  const commits: { of: string; version: number; ids: string }[] = [];
  const buffer = Buffer.alloc(4096);
  const inner = {
    buffer,
    draftBytesMax: 4096,
    refusal: () => undefined,
    mark: () => 0,
    rewind: () => undefined,
    begin: () => 0,
    commit(end: number, _kind: number, version: number) {
      const ids = version === 2 ? buffer.toString('hex', end - 24, end) : '';
      commits.push({ of: buffer.toString('latin1', 0, 1), version, ids });
    },
  };
  const spans: SpanData[] = [];
  const tracing = new RequestTracing(new TraceSampler({ otelTracesSamplerArg: 0, traceLimit: 100 }), (span) =>
    spans.push(span),
  );
  const lane = tracing.lane(inner);
  const record = (of: string) => {
    const at = lane.begin(8);
    lane.buffer.write(of, at);
    lane.commit(at + 8, 1, 1);
  };
  let name = '';
  const handler = tracing.traced('POST', '/collect', (res) => {
    const own = name;
    res.onData((_chunk, last) => {
      if (last) record(own);
    });
    res.onAborted(() => undefined);
  });
  const begin = (of: string, header: string) => {
    name = of;
    const waiting: { data?: (chunk: ArrayBuffer, last: boolean) => void; gone?: () => void } = {};
    const res = {
      onData(take: (chunk: ArrayBuffer, last: boolean) => void) {
        waiting.data = take;
      },
      onAborted(gone: () => void) {
        waiting.gone = gone;
      },
    };
    const req = { getHeader: () => header } as unknown as HttpRequest;
    handler(res as unknown as HttpResponse, req, {} as MountedRoute);
    return waiting;
  };
  const a = begin('a', traceparent(1));
  const b = begin('b', '');
  const c = begin('c', traceparent(2));
  const none = new ArrayBuffer(0);
  a.data!(none, false);
  b.data!(none, true);
  c.data!(none, true);
  a.data!(none, true);
  begin('d', traceparent(3)).gone!();
  assert.deepEqual(
    commits.map(({ of, version, ids }) => `${of} ${version} ${ids.slice(0, 32)}`),
    ['b 1 ', `c 2 ${traceOf(2)}`, `a 2 ${traceOf(1)}`],
  );
  assert.deepEqual(
    spans.map(({ context, failed }) => [context.traceId, failed]),
    [[traceOf(3), true]],
    'a client that left is a failed span',
  );
});

test('request, batch and Kafka record of a traced request name one trace, across a restart as well', async (t) => {
  const receiver = await startOtlpReceiver(t, 21991);
  const folder = collectorFolder();
  const broker = 21994;
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=secret',
    OTEL_SERVICE_NAME: 'pixels',
    OTEL_TRACES_SAMPLER_ARG: '0',
    // Every answer waits for the disk, so it is given long after its handler.
    ACK: 'sync',
    OUTPUTS: 'log,kafka',
    // What kafkajs can read by itself.
    KAFKA_COMPRESSION: 'gzip',
    KAFKA_BROKERS: `127.0.0.1:${broker}`,
    DRAIN_TIMEOUT_MS: '1000',
  };
  // No broker yet: what is taken now is delivered by the next life.
  const first = await startCollector(t, { port: 21990, folder, env });
  const ask = async (url: string, path: string, headers: Record<string, string>, body?: string) => {
    const response = await fetch(url + path, { headers, ...(body && { method: 'POST', body }) });
    await response.arrayBuffer();
    return response.status;
  };
  assert.equal(await ask(first.url, '/px.gif?e=one', { traceparent: traceparent(1) }), 200);
  assert.equal(await ask(first.url, '/px.gif?e=untraced', {}), 200);
  assert.equal(await ask(first.url, '/px.gif?e=unsampled', { traceparent: traceparent(2, '00') }), 200);
  const json = { 'Content-Type': 'application/json' };
  assert.equal(
    await ask(first.url, '/collect', { ...json, traceparent: traceparent(3) }, '[{"e":"two"},{"e":"three"}]'),
    202,
  );
  assert.equal(await ask(first.url, '/collect', { ...json, traceparent: traceparent(4) }, '{'), 400);
  assert.equal(await first.stop(), 0);

  const spans = (name: string) => receiver.spans.filter((span) => span.name === name);
  const request = (n: number) =>
    receiver.spans.find((span) => span.traceId === traceOf(n) && span.kind === 2) as Received;
  assert.equal(spans('GET /px.gif').length, 1, 'untraced and unsampled requests have no span');
  assert.equal(spans('POST /collect').length, 2);
  for (const [n, route, status] of [
    [1, '/px.gif', 200],
    [3, '/collect', 202],
    [4, '/collect', 400],
  ] as const) {
    const { parentSpanId, attributes, startNs, endNs } = request(n);
    assert.equal(parentSpanId, PARENT);
    assert.equal(attributes['http.route'], route);
    assert.equal(attributes['http.response.status_code'], status);
    assert.ok(endNs >= startNs && Math.abs(Number(startNs / 1_000_000n) - Date.now()) < 60_000);
  }
  assert.deepEqual([...receiver.services], ['pixels']);
  assert.ok(receiver.headers.every((headers) => headers['authorization'] === 'secret'));
  const linked = spans('deliver log').flatMap(({ links }) => links.map(({ spanId }) => spanId));
  assert.deepEqual(linked.toSorted(), [request(1).spanId, request(3).spanId].toSorted());
  assert.equal(eventsIn(folder).length, 5, 'the ids behind the line are not in the line');

  await startKafka(t, { port: broker, own: true });
  const second = await startCollector(t, { port: 21990, folder, env });
  const headers = await consumed(broker, 5);
  const [one, two] = [request(1), request(3)].map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`);
  assert.deepEqual(headers, { one, two, three: two, untraced: undefined, unsampled: undefined });
  await expect
    .poll(() => spans('deliver kafka').some(({ links, status }) => links.length === 2 && status === 0), {
      message: 'the span of the batch',
    })
    .toBe(true);
  await second.stop();
});

test('without an endpoint nothing of the SDK is loaded: one module imports it, and that one only when it is needed', () => {
  const sources = globSync('src/**/*.ts').map((file) => ({ file, text: readFileSync(file, 'utf8') }));
  const importers = sources.filter(({ text }) => text.includes("from '@opentelemetry/")).map(({ file }) => file);
  assert.deepEqual(importers, ['src/service/span-export.ts']);
  const loads = sources
    .filter(({ text }) => /^import (?!type)[^;]*tracing-export\.ts'/m.test(text))
    .map(({ file }) => file);
  assert.deepEqual(loads, []);
});

test('a receiver that is away costs spans, and no request', async (t) => {
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:21992/',
    OTEL_TRACES_SAMPLER_ARG: '1',
    TRACE_LIMIT: '10000',
  };
  const collector = await startCollector(t, { port: 21993, env });
  for (let n = 0; n < 300; n += 1) {
    const response = await fetch(`${collector.url}/px.gif?e=away`);
    await response.arrayBuffer();
    assert.equal(response.status, 200);
  }
  const begin = performance.now();
  assert.equal(await collector.stop(), 0);
  assert.ok(performance.now() - begin < 8000, 'the end waits for the receiver');
  assert.equal(eventsIn(collector.folder).length, 300);
});

/** The traceparent header of each record by its event_type. */
async function consumed(port: number, count: number): Promise<Record<string, string | undefined>> {
  const kafka = new Kafka({ brokers: [`127.0.0.1:${port}`], logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: 'tracing' });
  const found: Record<string, string | undefined> = {};
  let seen = 0;
  await consumer.connect();
  try {
    await vi.waitFor(() => consumer.subscribe({ topics: ['gotrack.events'], fromBeginning: true }), {
      timeout: 20_000,
      interval: 20,
    });
    await consumer.run({
      eachMessage: async ({ message }) => {
        seen += 1;
        found[String(message.headers?.['event_type'])] = message.headers?.['traceparent']?.toString();
        assert.equal(String(message.headers?.['schema']), 'v1');
      },
    });
    await expect.poll(() => seen >= count, { message: 'all records are there' }).toBe(true);
  } finally {
    await consumer.disconnect();
  }
  return found;
}
