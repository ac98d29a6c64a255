/**
 * HTTP driver: an operator with an HTTP API.
 *
 *   POST url {message_id, to, from, text}     Authorization: Bearer <token>; Idempotency-Key: <message_id>
 *     200 {id}           taken
 *     422 {reason}       rejected for good
 *     429, 503           later, whatever the message; Retry-After says when
 *     401, 403           later, whatever the message: not our credentials
 *     404, ...           later: the operator has not taken it, and the fault is in how it was asked
 *     5xx, anything else unknown
 *   GET url/<message_id>
 *     200 {id, status}   taken; status delivered or failed: how it ended
 *     404                never taken
 *
 * Whether anything was written decides what a failed call is: before that the operator cannot have the message.
 */
import { type Dispatcher, Pool } from 'undici';
import type { OutgoingMessage } from '../model.ts';
import type { Operator, OperatorState, QueryResult, SendResult } from './contract.ts';
import type { GivenOperator } from './operator-option.ts';

const ANSWER_BYTES_MAX = 16 * 1024;
const ID_LENGTH_MAX = 128;
const REASON_LENGTH_MAX = 200;
/** Idle connections end before most servers end them, so that few messages are written into a closing connection. */
const KEEP_ALIVE_MS = 4000;
const RETRY_AFTER_MS_MAX = 10 * 60_000;

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly date: string | undefined;
  /** Undefined: larger than the limit. */
  readonly body: string | undefined;
}

/** How a call ended without a whole answer. */
interface Broken {
  /** The request, or a part of it, was handed to the connection. */
  readonly written: boolean;
  readonly reason: string;
}

export class HttpOperator implements Operator {
  readonly name: string;
  readonly receiptsBear = 'message_id';
  readonly #given: GivenOperator;
  readonly #pool: Pool;
  readonly #path: string;

  constructor(given: GivenOperator) {
    this.name = given.name;
    this.#given = given;
    const { origin, pathname } = new URL(given.url);
    this.#path = pathname.replace(/\/$/, '');
    this.#pool = new Pool(origin, {
      // Queries have connections of their own beside the window.
      connections: given.window + 2,
      pipelining: 1,
      allowH2: false,
      connect: { timeout: given.timeout_ms },
      // The driver's own timer bounds the whole call.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
    });
  }

  async send(message: OutgoingMessage, signal: AbortSignal): Promise<SendResult> {
    const { messageId, to, sender, text } = message;
    const from = sender === '' ? this.#given.sender : sender;
    const body = JSON.stringify({ message_id: messageId, to, from, text });
    const headers = { 'content-type': 'application/json', 'idempotency-key': messageId };
    const ended = await this.#call({ method: 'POST', path: this.#path || '/', headers, body }, signal);
    if ('written' in ended) {
      const { written, reason } = ended;
      return written ? { kind: 'unknown', reason } : { kind: 'later', reason, away: true };
    }
    return sendResult(ended, this.#told(ended.body));
  }

  async query(messageId: string, _operatorId: string | null, signal: AbortSignal): Promise<QueryResult> {
    const path = `${this.#path}/${encodeURIComponent(messageId)}`;
    const ended = await this.#call({ method: 'GET', path, headers: {} }, signal);
    if ('written' in ended) return { kind: 'unanswered', reason: ended.reason };
    if (ended.status === 404) return { kind: 'never' };
    const told = this.#told(ended.body);
    if (ended.status !== 200 || told === undefined) return { kind: 'unanswered', reason: `status ${ended.status}` };
    const state = told.status === 'delivered' || told.status === 'failed' ? { state: told.status } : {};
    return {
      kind: 'taken',
      id: told.id,
      ...state,
      ...(told.reason === undefined ? {} : { reason: told.reason }),
    } as QueryResult;
  }

  state(): OperatorState {
    return 'up';
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }

  /** What an answer says, with a token that it repeats taken out; undefined: it is no JSON object. */
  #told(body: string | undefined): Told | undefined {
    let value: unknown;
    try {
      value = JSON.parse(body ?? '');
    } catch {
      return undefined;
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const { id, status, reason } = value as Readonly<Record<string, unknown>>;
    const { token } = this.#given;
    const text = typeof reason === 'string' ? reason.slice(0, REASON_LENGTH_MAX) : undefined;
    return {
      id: typeof id === 'string' || typeof id === 'number' ? String(id).slice(0, ID_LENGTH_MAX) : '',
      status: typeof status === 'string' ? status : undefined,
      reason: token === undefined ? text : text?.replaceAll(token, '***'),
    };
  }

  #call(
    request: Pick<Dispatcher.DispatchOptions, 'method' | 'path' | 'body'> & {
      readonly headers: Record<string, string>;
    },
    signal: AbortSignal,
  ): Promise<Answer | Broken> {
    if (signal.aborted) return Promise.resolve({ written: false, reason: 'the process ends' });
    const { token, timeout_ms: timeoutMs } = this.#given;
    const authorization: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const call = new Call();
    const stop = () => call.stop('the process ended before an answer came');
    const timer = setTimeout(() => call.stop(`no answer within ${timeoutMs} ms`), timeoutMs);
    signal.addEventListener('abort', stop, { once: true });
    try {
      const headers = { ...request.headers, ...authorization, 'user-agent': 'ringmain' };
      this.#pool.dispatch({ ...request, headers }, call);
    } catch (error) {
      call.onResponseError(undefined, error as Error);
    }
    return call.ended.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    });
  }
}

interface Told {
  readonly id: string;
  readonly status: string | undefined;
  readonly reason: string | undefined;
}

function sendResult({ status, retryAfter, date }: Answer, told: Told | undefined): SendResult {
  // A 200 whose body is not the operator's may come from a proxy that has passed nothing on, or tell of an error.
  if (status === 200)
    return told === undefined || told.id === ''
      ? { kind: 'unknown', reason: 'status 200 with a body that is no JSON object with an id' }
      : { kind: 'taken', id: told.id };
  const said = told?.reason === undefined ? '' : `: ${told.reason}`;
  const reason = `status ${status}${said}`;
  if (status === 422) return { kind: 'rejected', reason };
  if (status === 429 || status === 503) {
    const afterMs = retryAfterMs(retryAfter, date);
    return { kind: 'later', reason, away: true, ...(afterMs === undefined ? {} : { afterMs }) };
  }
  if (status === 401 || status === 403) return { kind: 'later', reason, away: true };
  return { kind: status >= 300 && status < 500 ? 'later' : 'unknown', reason };
}

/** Seconds, or a date by the operator's own clock; any other text is ignored. */
function retryAfterMs(text: string | undefined, date: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.parse(date ?? '');
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), RETRY_AFTER_MS_MAX) : undefined;
}

/** One request: knows whether it was written, and keeps a bounded answer. */
class Call implements Dispatcher.DispatchHandler {
  readonly ended: Promise<Answer | Broken>;
  #resolve!: (ended: Answer | Broken) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #stopped: string | undefined;
  #status = 0;
  #retryAfter: string | undefined;
  #date: string | undefined;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Gives up. What the connection has not taken yet is never written: onRequestStart aborts it. */
  stop(reason: string): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = reason;
    this.#resolve({ written: this.#controller !== undefined, reason });
    this.#controller?.abort(new Error(reason));
  }

  /** The next thing that undici does is to write the request. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#stopped !== undefined) controller.abort(new Error(this.#stopped));
    else this.#controller = controller;
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, unknown>): void {
    if (status < 200) return;
    this.#status = status;
    this.#retryAfter = one(headers['retry-after']);
    this.#date = one(headers['date']);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes <= ANSWER_BYTES_MAX) this.#parts.push(chunk);
    else {
      this.#answered(undefined);
      controller.abort(new Error('the answer is too large'));
    }
  }

  onResponseEnd(): void {
    this.#answered(Buffer.concat(this.#parts).toString());
  }

  onResponseError(_: Dispatcher.DispatchController | undefined, error: Error): void {
    // The status stands at the head of an answer that broke off: no word of its body changes what 4xx means.
    if (this.#status >= 300 && this.#status < 500) this.#answered(undefined);
    else this.#resolve({ written: this.#controller !== undefined, reason: reasonOf(error) });
  }

  #answered(body: string | undefined): void {
    this.#resolve({ status: this.#status, retryAfter: this.#retryAfter, date: this.#date, body });
  }
}

const one = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

/** No address of the inside stands in it: customers may read it. */
function reasonOf(error: Error): string {
  const { code } = error as { readonly code?: string };
  if (code === 'UND_ERR_SOCKET' || code === 'ECONNRESET') return 'the connection was lost before an answer came';
  return `the call failed: ${code ?? error.name}`;
}
