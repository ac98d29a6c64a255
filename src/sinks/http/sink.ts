/**
 * HTTP sink: one batch is one POST of NDJSON.
 *
 *   delivery  at least once: when an answer is lost, the request is sent again. Idempotency-Key names the records (log,
 *             lane, positions), so a receiver can recognise a repeat; so can the event ids in the lines
 *   2xx       delivered
 *   4xx       the batch is halved until the refused event stands alone; that event goes to the dead-letter file
 *   later     408, 425, 429 and 5xx: sent again later. Retry-After is obeyed up to a limit: until then a write fails
 *             without being sent. So is what ClickHouse answers 404 for a table that is not made yet
 *   operator  401, 403, 407 and redirects: they are about our configuration, not about an event
 *   bounds    one deadline for the whole exchange; at most a few KiB of an answer are read, for the reason
 *   idle      there is no connection that could be lost. A sink that is away and has nothing to send asks with OPTIONS
 *   secrets   a reason names host and port, never the path, the query or the login of the URL, also when the receiver
 *             repeats them in its answer
 */
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { ErrorClass, SinkBatch, SinkContext, SinkKind, SinkTarget } from '../../delivery/contract.ts';
import { laneKey } from '../../engine/segment.ts';
import { jsonLength, jsonStart } from '../../events/record.ts';
import { type Clock, systemClock } from '../../kernel/clock.ts';
import { placeOf, reasonAt } from '../../kernel/place.ts';
import { type HttpSinkConfig, httpSinkConfig } from './config.ts';

/** Bytes of an answer that are kept for the reason, and bytes after which the connection is dropped. */
const REASON_BYTES = 300;
/** Read behind them, so that a secret that begins within the reason is seen whole. */
const SECRET_BYTES = 4096;
const ANSWER_BYTES_MAX = 64 * 1024;

/** Shorter texts stand in every answer by chance, and are no secrets. */
const SECRET_LENGTH_MIN = 4;

/** The receiver has answered, and not with a 2xx. */
export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal';
  readonly status: number;
  /** Of ClickHouse, by its header: what went wrong; undefined: the receiver is none. */
  readonly exception: string | undefined;

  constructor(place: string, status: number, reason: string, exception?: string) {
    super(`the receiver ${place} did not answer 2xx: status=${status}${reason === '' ? '' : `, answer=${reason}`}`);
    this.status = status;
    this.exception = exception;
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
  readonly exception: string | undefined;
  readonly text: string;
}

/** @internal Exported for tests with a clock of their own. */
export class HttpTarget implements SinkTarget {
  readonly inFlightMax: number;
  readonly #config: HttpSinkConfig;
  readonly #context: SinkContext;
  readonly #url: URL;
  readonly #place: string;
  readonly #secrets: readonly string[];
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
    this.#place = placeOfUrl(this.#url);
    this.#secrets = secretsOf(this.#url, config);
    this.inFlightMax = config.httpSinkConnections;
    const sockets = { keepAlive: true, maxSockets: config.httpSinkConnections };
    const ca = config.httpSinkTlsCa === undefined ? {} : { ca: readFileSync(config.httpSinkTlsCa) };
    this.#agent = this.#url.protocol === 'https:' ? new HttpsAgent({ ...sockets, ...ca }) : new HttpAgent(sockets);
  }

  async write(batch: SinkBatch): Promise<void> {
    if (batch.count === 0) return; // such a batch moves the cursors of targets that keep their own
    this.#assertNoPause();
    const answer = await this.#ask('POST', bodyOf(batch), { 'idempotency-key': this.#keyOf(batch) });
    if (answer.status < 200 || answer.status >= 300) throw this.#refusal(answer);
  }

  /**
   * Answers about OPTIONS itself (404, 405, 501) come from a receiver that is there; whether it takes events they leave
   * open.
   */
  async probe(): Promise<void> {
    this.#assertNoPause();
    const answer = await this.#ask('OPTIONS', Buffer.alloc(0), {});
    const { status } = answer;
    if (aboutUs.has(status) || later.has(status) || (status >= 500 && status !== NOT_IMPLEMENTED))
      throw this.#refusal(answer);
  }

  #assertNoPause(): void {
    const left = this.#pausedUntilMs - this.#clock.elapsed();
    if (left > 0) throw new Paused(`the receiver ${this.#place} has asked for a pause: ${Math.ceil(left)} ms left`);
  }

  #refusal({ status, retryAfter, date, exception, text }: Answer): HttpRefusal {
    if (retryAfter !== undefined) this.#pause(retryAfter, date);
    const told = this.#secrets.reduce((shown, secret) => shown.replaceAll(secret, '***'), text);
    return new HttpRefusal(this.#place, status, told.slice(0, REASON_BYTES).replaceAll(/\s+/g, ' ').trim(), exception);
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

  #headers(body: Buffer, more: Readonly<Record<string, string>>): Record<string, string> {
    const { httpSinkSecret, httpSinkAuthorization } = this.#config;
    const headers: Record<string, string> = {
      ...(body.length > 0 ? { 'content-type': 'application/x-ndjson' } : {}),
      'content-length': String(body.length),
      'user-agent': 'ringmain',
      ...more,
    };
    if (httpSinkAuthorization !== undefined) headers['authorization'] = httpSinkAuthorization;
    if (httpSinkSecret !== undefined) {
      headers['ringmain-signature'] = signature(httpSinkSecret, Math.floor(this.#clock.now() / 1000), body);
    }
    return headers;
  }

  #ask(method: 'POST' | 'OPTIONS', body: Buffer, more: Readonly<Record<string, string>>): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const send = this.#url.protocol === 'https:' ? httpsRequest : httpRequest;
    const { httpSinkTimeoutMs } = this.#config;
    const request = send(this.#url, { method, agent: this.#agent, headers: this.#headers(body, more) });
    const deadline = setTimeout(() => {
      request.destroy(new Error(`no answer within ${httpSinkTimeoutMs} ms`));
    }, httpSinkTimeoutMs);
    const stop = () => request.destroy(new Error('the sink ends'));
    this.#context.signal.addEventListener('abort', stop, { once: true });
    request.on('error', reject);
    request.on('response', (response) => readAnswer(response).then(resolve, reject));
    request.end(body);
    return promise
      .catch((error: unknown) => {
        if (error instanceof Error) error.message = reasonAt(error, [this.#place]);
        throw error;
      })
      .finally(() => {
        clearTimeout(deadline);
        this.#context.signal.removeEventListener('abort', stop);
      });
  }
}

function placeOfUrl({ protocol, hostname: host, port }: URL): string {
  return placeOf({ host, port: Number(port || (protocol === 'https:' ? 443 : 80)) });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What must not be told when a receiver repeats it ("Cannot POST /hook/a8c1?token=..."), the longest first. */
function secretsOf(url: URL, { httpSinkAuthorization, httpSinkSecret }: HttpSinkConfig): readonly string[] {
  const { pathname, search, username, password } = url;
  const login = [username, password].flatMap((part) => [part, decoded(part)]);
  const parts = [
    ...(pathname.length > 1 ? [pathname + search, pathname] : []),
    ...[search, ...url.searchParams.values()],
    ...login,
    ...(httpSinkAuthorization?.split(' ') ?? []).slice(-1),
    httpSinkSecret ?? '',
  ];
  return [...new Set(parts)].filter((part) => part.length >= SECRET_LENGTH_MIN).sort((a, b) => b.length - a.length);
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
    if (length < REASON_BYTES + SECRET_BYTES) chunks.push(chunk);
    length += chunk.length;
    if (length > ANSWER_BYTES_MAX) break; // leaving the loop destroys the connection
  }
  const text = Buffer.concat(chunks).toString('utf8');
  const exception = headers['x-clickhouse-exception-code'];
  return {
    status,
    retryAfter: headers['retry-after'],
    date: headers.date,
    exception: typeof exception === 'string' ? exception : undefined,
    text,
  };
}

const NOT_IMPLEMENTED = 501;
const later = new Set([408, 425, 429]);
const aboutUs = new Set([401, 403, 407]);
/** UNKNOWN_TABLE and UNKNOWN_DATABASE: whoever starts first makes them, and no event is to blame. */
const unmade = new Set(['60', '81']);

function classify(error: unknown): ErrorClass {
  if (error instanceof TypeError || error instanceof RangeError) return 'stop'; // a bug of this process
  if (!(error instanceof HttpRefusal)) return 'retry';
  const { status, exception } = error;
  if (exception !== undefined && unmade.has(exception)) return 'retry';
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
  places: ({ httpSinkUrl }) => (httpSinkUrl === undefined ? [] : [placeOfUrl(new URL(httpSinkUrl))]),
  open: async (config, context) => new HttpTarget(config, context, systemClock),
  classify,
};
