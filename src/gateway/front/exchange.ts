/**
 * Exchange: one request that has passed the pipeline (README.md: order of the checks), and its answer. It settles
 * everything an answer owes, once: the headers of limits, the request id, CORS, the quota, the record of the log, the
 * counts.
 *
 * A handler reads what it needs of `req` before its first await: the addon's request is gone when the handler returns.
 */
import type { HttpRequest } from 'uWebSockets.js';
import type { ErrorMaker } from '../../kernel/errors.ts';
import type { GatewayKey, GatewayUser, Scope } from '../model.ts';

export interface Exchange {
  readonly method: string;
  /** As the client sent it, without the query. */
  readonly path: string;
  /** Without the question mark; '' when there is none. */
  readonly query: string;
  /** As the client sent it, with the query. */
  readonly target: string;
  readonly requestId: string;
  /** Of the client, in its one spelling. */
  readonly address: string;
  /** Undefined for ADMIN_KEY. */
  readonly user: GatewayUser | undefined;
  /** The key, also behind a signed URL. Undefined for ADMIN_KEY. */
  readonly key: GatewayKey | undefined;
  /** ADMIN_KEY, or a key with the scope `admin`, on a route where that counts. */
  readonly administrator: boolean;
  /** Neither answered, nor has the client gone. */
  readonly open: boolean;
  /** Fires when the client has gone or a time-out has ended the request. Made when it is asked for. */
  readonly signal: AbortSignal;
  /** Which backend has answered, for the log. */
  backendId: number | undefined;
  /** Name of the outcome in metrics and the log: `hit`, `miss`, `stale`, ... The pipeline sets those of refusals. */
  outcome: string;

  /**
   * Answers with a whole body (none: undefined). HEAD: the headers alone. `headers`: also as headerLines() makes them.
   * `keep`: called when the client does not take all of the body at once; the exchange lets go of the body then.
   */
  answer(status: number, headers: Headers | string, body?: string | Uint8Array, keep?: () => BodyKeep): void;
  /** Answers with a whole body of so many bytes (one at least) that somebody keeps. HEAD: the headers alone. */
  send(status: number, headers: Headers | string, bytes: number, keep: () => BodyKeep): void;
  /** application/json. */
  json(status: number, body: string, headers?: Headers): void;
  /** A problem (RFC 9457). */
  problem<C extends string, F extends object>(error: ErrorMaker<C, F>, fields: F, headers?: Headers): void;
  /** Any error: one whose row is shown is its own answer, another costs one 500 and one line in the log. */
  fail(error: unknown): void;
  /** Begins an answer whose body comes in pieces. `length`: its bytes, when they are known. */
  stream(status: number, headers: Headers | string, length: number | undefined): BodyWriter;
  /**
   * Lets the body flow into the sink. Call inside the handler. A body beyond `bytesMax` is 413, one below the minimum
   * rate 408; the exchange has answered then.
   */
  receive(req: HttpRequest, bytesMax: number, sink: BodySink): BodyFlow;
  /** The whole body as JSON, of at most MAX_BODY_BYTES. Call inside the handler. Rejects when the exchange has answered. */
  jsonBody(req: HttpRequest): Promise<unknown>;
}

export type Headers = readonly (readonly [name: string, value: string])[];

/** Headers as further lines of a head, each behind the end of the line before: for those that are sent many times. */
export function headerLines(headers: Headers): string {
  let lines = '';
  for (const [name, value] of headers) lines += `\r\n${name}: ${value}`;
  return lines;
}

/** A body that is kept for a slow client. */
export interface BodyKeep {
  /** Bytes from there on: at once those that others use as well, or later some of its own. Rejects when they are lost. */
  read(at: number): Uint8Array | Promise<Uint8Array>;
  release(): void;
}

export interface BodyWriter {
  /** False: the client is slow, wait for `drained`. A client that reads too slowly is closed (README.md). */
  write(bytes: Uint8Array): boolean;
  /** Called once when there is room again. */
  drained(then: () => void): void;
  end(): void;
  /** The body cannot be made whole: closes the connection. */
  abort(): void;
}

/** Takes what nobody will read: the client has gone, or asked for the head alone. */
export const nowhere: BodyWriter = {
  write: () => true,
  drained: (then) => then(),
  end: () => undefined,
  abort: () => undefined,
};

export interface BodySink {
  /** The bytes are the sink's. False: no more, until resume(). */
  chunk(bytes: Uint8Array): boolean;
  end(): void;
  /** The body will not be whole; the exchange has answered, or the client has gone. */
  failed(): void;
}

export interface BodyFlow {
  resume(): void;
}

/** What a route asks of its callers. */
export interface Demand {
  /** Name of the route: metric label and span name. */
  readonly route: string;
  /** A key with this scope; 'administrator': ADMIN_KEY, or a key with the scope `admin`. */
  readonly scope: Scope | 'administrator';
  /** Administrators may ask, too. */
  readonly administratorToo?: true;
  /** No quota counts it: who has used up the own one may still ask how much that was, and delete. */
  readonly outsideQuota?: true;
  /** Signed URLs may stand for the key; GET and HEAD only. */
  readonly signed?: true;
  /** It takes a body. */
  readonly takesBody?: true;
}

/** Answers an exchange, at once or later. A promise that rejects is answered like fail(). */
export type ExchangeHandler = (exchange: Exchange, req: HttpRequest) => Promise<void> | void;
