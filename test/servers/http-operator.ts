/**
 * An operator with an HTTP API, for tests and the demo: POST / takes a message, GET /:message_id says what became of it. It
 * runs in this process. What it does can be changed at any moment; it counts each message that it took, by id, which is the
 * oracle of "never twice".
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestScope } from './process.ts';

/**
 * take       takes the message and answers 200
 * refuse     422, takes nothing
 * throttle   429 with Retry-After, takes nothing
 * away       503, takes nothing
 * silent     takes the message and never answers
 * cut        takes the message and cuts the connection
 * drop       cuts the connection and takes nothing
 * broken     takes the message and answers 500
 * redirect   307 to another place, takes nothing
 * garbage    takes the message and answers 200 with what is no JSON
 * nameless   takes the message and answers 200 with an object that has no id
 * huge       takes the message and answers 200 with a body without an end
 */
export type OperatorBehaviour =
  | 'take'
  | 'refuse'
  | 'throttle'
  | 'away'
  | 'silent'
  | 'cut'
  | 'drop'
  | 'broken'
  | 'redirect'
  | 'garbage'
  | 'nameless'
  | 'huge';

export interface TakenMessage {
  readonly message_id: string;
  readonly to: string;
  readonly from: string;
  readonly text: string;
  /** By performance.now() of this process. */
  readonly atMs: number;
}

export interface HttpOperatorOptions {
  /** 0, the default: any. */
  readonly port?: number;
  readonly token?: string;
  readonly behaviour?: OperatorBehaviour;
  /** Chosen per message; wins over `behaviour`. */
  readonly judge?: (message: TakenMessage) => OperatorBehaviour;
  /** Ms before an answer. */
  readonly delayMs?: number;
  /** No message is answered before it resolves. */
  readonly before?: Promise<unknown>;
  /** Where receipts go: base URL of the API, with the name of this operator. */
  readonly receipts?: { readonly url: string; readonly name: string };
}

export class HttpOperator {
  readonly url: string;
  readonly port: number;
  behaviour: OperatorBehaviour;
  judge: HttpOperatorOptions['judge'];
  delayMs: number;
  /** Seconds of Retry-After. */
  retryAfterS = 1;
  /** What queries are answered with: as it is, 404 for all, or 500. */
  queries: 'true' | 'never' | 'away' = 'true';
  receipts: HttpOperatorOptions['receipts'];
  readonly token: string | undefined;
  readonly #before: Promise<unknown> | undefined;
  /** Every message that was taken, in the order of taking; one that was sent twice is there twice. */
  readonly taken: TakenMessage[] = [];
  /** Every request to send, taken or not. */
  requests = 0;
  /** Requests under way now, and the most there ever were. */
  running = 0;
  runningMax = 0;
  queried: string[] = [];
  /** What queries say: sent, delivered or failed. */
  readonly states = new Map<string, string>();
  readonly #server: ReturnType<typeof createServer>;

  constructor(server: ReturnType<typeof createServer>, options: HttpOperatorOptions) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    this.url = `http://127.0.0.1:${this.port}/messages`;
    this.behaviour = options.behaviour ?? 'take';
    this.judge = options.judge;
    this.delayMs = options.delayMs ?? 0;
    this.token = options.token;
    this.#before = options.before;
    this.receipts = options.receipts;
    server.on('request', (request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  /** How often each message was taken. */
  get counts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { message_id } of this.taken) counts.set(message_id, (counts.get(message_id) ?? 0) + 1);
    return counts;
  }

  /** Ids of messages that were taken more than once. */
  get twice(): readonly string[] {
    return [...this.counts].filter(([, count]) => count > 1).map(([id]) => id);
  }

  /** Sends a receipt, `times` in a row; returns the status of the last answer. */
  async receipt(messageId: string, status: 'sent' | 'delivered' | 'failed', times = 1): Promise<number> {
    this.states.set(messageId, status);
    const { url, name } = this.receipts!;
    let last = 0;
    for (let i = 0; i < times; i += 1) {
      const answer = await fetch(`${url}/v1/receipts/${name}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${this.token}` },
        body: JSON.stringify({ message_id: messageId, id: `op-${messageId}`, status, at: new Date().toISOString() }),
      });
      await answer.text();
      last = answer.status;
    }
    return last;
  }

  /** Cuts every connection. */
  cutAll(): void {
    this.#server.closeAllConnections();
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    if (this.token !== undefined && request.headers.authorization !== `Bearer ${this.token}`)
      return answer(response, 401, { reason: `not the token: ${request.headers.authorization}` });
    if (request.method === 'GET') return this.#tell(decodeURIComponent(request.url!.split('/').at(-1)!), response);
    this.requests += 1;
    this.running += 1;
    this.runningMax = Math.max(this.runningMax, this.running);
    try {
      const message = { ...(JSON.parse(Buffer.concat(parts).toString()) as TakenMessage), atMs: performance.now() };
      await this.#act(this.judge?.(message) ?? this.behaviour, message, response);
    } finally {
      this.running -= 1;
    }
  }

  #tell(messageId: string, response: ServerResponse): void {
    this.queried.push(messageId);
    const known = this.queries === 'true' && this.taken.some(({ message_id }) => message_id === messageId);
    if (this.queries === 'away') answer(response, 500, {});
    else if (!known) answer(response, 404, {});
    else answer(response, 200, { id: `op-${messageId}`, status: this.states.get(messageId) ?? 'sent' });
  }

  async #act(behaviour: OperatorBehaviour, message: TakenMessage, response: ServerResponse): Promise<void> {
    const takes = !['refuse', 'throttle', 'away', 'drop', 'redirect'].includes(behaviour);
    if (takes) this.taken.push(message);
    await this.#before;
    if (this.delayMs > 0) await sleep(this.delayMs);
    switch (behaviour) {
      case 'take':
        return answer(response, 200, { id: `op-${message.message_id}` });
      case 'refuse':
        return answer(response, 422, { reason: 'the number is blocked' });
      case 'throttle':
        response.setHeader('retry-after', String(this.retryAfterS));
        return answer(response, 429, {});
      case 'away':
        return answer(response, 503, {});
      case 'silent':
        return;
      case 'cut':
      case 'drop':
        (response.socket as Socket).destroy();
        return;
      case 'broken':
        return answer(response, 500, {});
      case 'redirect':
        response.setHeader('location', '/elsewhere');
        return answer(response, 307, {});
      case 'garbage':
        response.end('<html>');
        return;
      case 'nameless':
        return answer(response, 200, {});
      case 'huge': {
        response.writeHead(200, { 'content-type': 'application/json' });
        const piece = Buffer.alloc(64 * 1024, ' ');
        const more = (): void => {
          while (!response.destroyed && response.write(piece));
          if (!response.destroyed) response.once('drain', more);
        };
        more();
      }
    }
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.statusCode = status;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(body));
}

/** Starts an operator on loopback; it ends with the test. */
export async function startHttpOperator(
  t: TestScope | undefined,
  options: HttpOperatorOptions = {},
): Promise<HttpOperator> {
  // Connections that nobody uses stay open for longer than a client keeps them.
  const server = createServer({ keepAliveTimeout: 60_000 });
  await new Promise<void>((done, failed) => {
    server.once('error', failed);
    server.listen(options.port ?? 0, '127.0.0.1', done);
  });
  const operator = new HttpOperator(server, options);
  t?.onTestFinished(() => operator.close());
  return operator;
}
