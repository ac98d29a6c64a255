/** An OTLP/HTTP receiver: takes POST /v1/traces, decodes the protobuf of the few fields that the tests look at. */
import { createServer } from 'node:http';
import type { TestScope } from '../servers/process.ts';

export interface Received {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly kind: number;
  readonly links: readonly { traceId: string; spanId: string }[];
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly status: number;
}

export interface OtlpReceiver {
  readonly url: string;
  readonly spans: Received[];
  /** service.name of the resources seen. */
  readonly services: Set<string>;
  readonly headers: Record<string, unknown>[];
}

export async function startOtlpReceiver(t: TestScope, port: number): Promise<OtlpReceiver> {
  const state = { spans: [] as Received[], services: new Set<string>(), headers: [] as Record<string, unknown>[] };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method !== 'POST' || request.url !== '/v1/traces') {
        response.writeHead(404).end();
        return;
      }
      state.headers.push(request.headers);
      for (const resourceSpans of messages(fields(Buffer.concat(chunks)), 1)) {
        for (const resource of messages(resourceSpans, 1))
          state.services.add(String(attributesOf(resource, 1)['service.name']));
        for (const scopeSpans of messages(resourceSpans, 2)) state.spans.push(...messages(scopeSpans, 2).map(spanOf));
      }
      response.writeHead(200, { 'Content-Type': 'application/x-protobuf' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.onTestFinished(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${port}`, ...state };
}

/** Field number -> its values: bytes, or whole numbers. */
type Fields = ReadonlyMap<number, readonly (Buffer | bigint)[]>;

function fields(bytes: Buffer): Fields {
  const found = new Map<number, (Buffer | bigint)[]>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const [field, wire] = [key >>> 3, key & 7];
    const list = found.get(field) ?? found.set(field, []).get(field)!;
    if (wire === 0) list.push(varint());
    else if (wire === 1) {
      list.push(bytes.readBigUInt64LE(at));
      at += 8;
    } else if (wire === 5) {
      list.push(BigInt(bytes.readUInt32LE(at)));
      at += 4;
    } else {
      const length = Number(varint());
      list.push(bytes.subarray(at, at + length));
      at += length;
    }
  }
  return found;
}

const messages = (of: Fields, field: number): Fields[] => (of.get(field) ?? []).map((value) => fields(value as Buffer));
const text = (of: Fields, field: number): string => (of.get(field)?.[0] as Buffer | undefined)?.toString() ?? '';
const hex = (of: Fields, field: number): string => (of.get(field)?.[0] as Buffer | undefined)?.toString('hex') ?? '';
const whole = (of: Fields, field: number): bigint => (of.get(field)?.[0] as bigint | undefined) ?? 0n;

function attributesOf(of: Fields, field: number): Record<string, string | number> {
  return Object.fromEntries(
    messages(of, field).map((pair) => {
      const value = messages(pair, 2)[0] ?? new Map();
      return [text(pair, 1), value.has(1) ? text(value, 1) : Number(whole(value, 3))];
    }),
  );
}

function spanOf(span: Fields): Received {
  return {
    traceId: hex(span, 1),
    spanId: hex(span, 2),
    parentSpanId: hex(span, 4),
    name: text(span, 5),
    kind: Number(whole(span, 6)),
    startNs: whole(span, 7),
    endNs: whole(span, 8),
    attributes: attributesOf(span, 9),
    links: messages(span, 13).map((link) => ({ traceId: hex(link, 1), spanId: hex(link, 2) })),
    status: Number(messages(span, 15)[0] ? whole(messages(span, 15)[0]!, 3) : 0n),
  };
}
