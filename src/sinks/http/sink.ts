/**
 * HTTP sink: one batch is one POST of NDJSON.
 *
 *   delivery  at least once: when an answer is lost, the request is sent again. Idempotency-Key names the records (log,
 *             lane, positions), so a receiver can recognise a repeat; so can the event ids in the lines
 *   2xx       delivered
 *   4xx       the batch is halved until the refused event stands alone; that event goes to the dead-letter file
 *   later     408, 425, 429 and 5xx: sent again later. Retry-After is obeyed up to a limit: until then a write fails
 *             without being sent
 *   operator  401, 403, 407 and redirects: they are about our configuration, not about an event
 *   bounds    one deadline for the whole exchange; at most a few KiB of an answer are read, for the reason
 */
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { ErrorClass, SinkBatch, SinkContext, SinkKind, SinkTarget } from '../../delivery/contract.ts';
import { laneKey } from '../../engine/segment.ts';
import { jsonLength, jsonStart } from '../../events/record.ts';
import { type Clock, systemClock } from '../../kernel/clock.ts';
import { type HttpSinkConfig, httpSinkConfig } from './config.ts';

/** Bytes of an answer that are kept for the reason, and bytes after which the connection is dropped. */
const REASON_BYTES = 300;
const ANSWER_BYTES_MAX = 64 * 1024;

/** The receiver has answered, and not with a 2xx. */
export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal';
  readonly status: number;

  constructor(status: number, reason: string) {
    super(`the receiver must answer 2xx: status=${status}${reason === '' ? '' : `, answer=${reason}`}`);
    this.status = status;
  }
}

/** The receiver has asked for a pause that is not over. */
export class Paused extends Error {
  override readonly name = 'Paused';
}

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly date: string | undefined;
  readonly text: string;
}

/** @internal Exported for tests with a clock of their own. */
export class HttpTarget implements SinkTarget {
  readonly inFlightMax: number;
  readonly #config: HttpSinkConfig;
  readonly #context: SinkContext;
  readonly #url: URL;
  readonly #agent: HttpAgent;
  readonly #clock: Clock;
  /** No request is sent before this time, by the clock that is never set. */
  #pausedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(config: HttpSinkConfig, context: SinkContext, clock: Clock) {
    if (config.httpSinkUrl === undefined) throw new TypeError('HTTP_SINK_URL must be set when OUTPUTS includes http');
    this.#config = config;
    this.#context = context;
    this.#clock = clock;
    this.#url = new URL(config.httpSinkUrl);
    this.inFlightMax = config.httpSinkConnections;
    const sockets = { keepAlive: true, maxSockets: config.httpSinkConnections };
    const ca = config.httpSinkTlsCa === undefined ? {} : { ca: readFileSync(config.httpSinkTlsCa) };
    this.#agent = this.#url.protocol === 'https:' ? new HttpsAgent({ ...sockets, ...ca }) : new HttpAgent(sockets);
  }

  async write(batch: SinkBatch): Promise<void> {
    if (batch.count === 0) return; // such a batch moves the cursors of targets that keep their own
    const left = this.#pausedUntilMs - this.#clock.elapsed();
    if (left > 0) throw new Paused(`the receiver has asked for a pause: ${Math.ceil(left)} ms left`);
    const { status, retryAfter, date, text } = await this.#post(bodyOf(batch), this.#keyOf(batch));
    if (status >= 200 && status < 300) return;
    if (retryAfter !== undefined) this.#pause(retryAfter, date);
    throw new HttpRefusal(status, text);
  }

  async close(): Promise<void> {
    this.#agent.destroy();
  }

  #keyOf(batch: SinkBatch): string {
    if (batch.name !== undefined) return batch.name;
    return `${this.#context.logId}:${laneKey(batch.lane)}:${batch.positions[0]}-${batch.positions[batch.count - 1]}`;
  }

  /** `date`: when the receiver answered, by its own clock. */
  #pause(retryAfter: string, date: string | undefined): void {
    // Seconds, or a date; any other text is ignored. The receiver's clock need not be ours.
    const answered = Date.parse(date ?? '') || this.#clock.now();
    const ms = /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - answered;
    if (ms > 0) this.#pausedUntilMs = this.#clock.elapsed() + Math.min(ms, this.#config.httpSinkRetryAfterMaxMs);
  }

  #headers(body: Buffer, key: string): Record<string, string> {
    const { httpSinkSecret, httpSinkAuthorization } = this.#config;
    const headers: Record<string, string> = {
      'content-type': 'application/x-ndjson',
      'content-length': String(body.length),
      'user-agent': 'ringmain',
      'idempotency-key': key,
    };
    if (httpSinkAuthorization !== undefined) headers['authorization'] = httpSinkAuthorization;
    if (httpSinkSecret !== undefined) {
      headers['ringmain-signature'] = signature(httpSinkSecret, Math.floor(this.#clock.now() / 1000), body);
    }
    return headers;
  }

  #post(body: Buffer, key: string): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const send = this.#url.protocol === 'https:' ? httpsRequest : httpRequest;
    const { httpSinkTimeoutMs } = this.#config;
    const request = send(this.#url, { method: 'POST', agent: this.#agent, headers: this.#headers(body, key) });
    const deadline = setTimeout(() => {
      request.destroy(new Error(`no answer within ${httpSinkTimeoutMs} ms`));
    }, httpSinkTimeoutMs);
    const stop = () => request.destroy(new Error('the sink ends'));
    this.#context.signal.addEventListener('abort', stop, { once: true });
    request.on('error', reject);
    request.on('response', (response) => readAnswer(response).then(resolve, reject));
    request.end(body);
    return promise.finally(() => {
      clearTimeout(deadline);
      this.#context.signal.removeEventListener('abort', stop);
    });
  }
}

/** The value of the Ringmain-Signature header. */
export function signature(secret: string, seconds: number, body: Buffer): string {
  const mac = createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex');
  return `t=${seconds},v1=${mac}`;
}

function bodyOf({ count, buffer, offsets }: SinkBatch): Buffer {
  let length = 0;
  for (let index = 0; index < count; index += 1) length += jsonLength(buffer, offsets[index]!) + 1;
  // Each request has a copy of its own: after an early answer the rest of the request is still in the socket's queue.
  const body = Buffer.allocUnsafe(length);
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    const start = jsonStart(offsets[index]!);
    at += buffer.copy(body, at, start, start + jsonLength(buffer, offsets[index]!));
    body[at] = 10;
    at += 1;
  }
  return body;
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const { statusCode: status = 0, headers } = response;
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (length < REASON_BYTES) chunks.push(chunk);
    length += chunk.length;
    if (length > ANSWER_BYTES_MAX) break; // leaving the loop destroys the connection
  }
  const text = Buffer.concat(chunks).toString('utf8').slice(0, REASON_BYTES).replaceAll(/\s+/g, ' ').trim();
  return { status, retryAfter: headers['retry-after'], date: headers.date, text };
}

const later = new Set([408, 425, 429]);
const aboutUs = new Set([401, 403, 407]);

function classify(error: unknown): ErrorClass {
  if (error instanceof TypeError || error instanceof RangeError) return 'stop'; // a bug of this process
  if (!(error instanceof HttpRefusal)) return 'retry';
  const { status } = error;
  if (later.has(status) || status >= 500) return 'retry';
  return aboutUs.has(status) || status < 400 ? 'stop' : 'split';
}

export const httpSink: SinkKind<HttpSinkConfig> = {
  name: 'http',
  config: httpSinkConfig,
  waits: 'event-loop',
  batching: ({ httpSinkBatchSize, httpSinkBatchBytes, httpSinkFlushMs }) => ({
    records: httpSinkBatchSize,
    bytes: httpSinkBatchBytes,
    flushMs: httpSinkFlushMs,
  }),
  open: async (config, context) => new HttpTarget(config, context, systemClock),
  classify,
};
