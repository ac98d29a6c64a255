/**
 * Keep-alive clients that repeat nothing: a request that does not get its 2xx is a finding, whatever the reason. With one exception, for
 * clients that are idle for as long as their server allows: a request that meets the server's close on its way is sent once more, as RFC 9112
 * (9.5) has every client do. Nobody but the client can do it, for the server has never seen that request.
 */
import { Agent, type IncomingHttpHeaders, request } from 'node:http';

const HANG_UP = 'socket hang up';
/** A machine that is busy sees the end of an idle time so much too late. */
const CLOSE_MS = 1000;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** One client: one connection at a time, kept as long as the other side keeps it, from an address of its own. */
export class Client {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1, scheduling: 'fifo' });
  readonly #port: number;
  readonly #address: string;
  readonly #idleLimitMs: number;
  #answeredMs = performance.now();
  sent = 0;
  /** Requests that met the close of their idle connection. */
  met = 0;
  readonly accepted: string[] = [];
  readonly failures: string[] = [];

  /** `address`: one of 127.0.0.0/8, what the events should carry as ip. `idleLimitMs`: after this time its server closes an idle connection. */
  constructor(port: number, address: string, idleLimitMs: number = Number.POSITIVE_INFINITY) {
    this.#port = port;
    this.#address = address;
    this.#idleLimitMs = idleLimitMs;
  }

  /** Sends one event by its route; its id is kept when the answer is 2xx, the reason when not. */
  async send(route: 'px' | 'collect', id: string, headers: Readonly<Record<string, string>> = {}): Promise<void> {
    this.sent += 1;
    const idleMs = performance.now() - this.#answeredMs;
    try {
      const body =
        route === 'collect' ? JSON.stringify({ e: 'load', event_id: id, props: { by: 'collect' } }) : undefined;
      const path = route === 'px' ? `/px.gif?e=load&event_id=${id}&by=px` : '/collect';
      const ask = () => this.ask(path, body, headers);
      const { status } = await ask().catch((error: Error) => {
        // About as long as the limit: before it, and long behind it, nobody may close.
        if (!error.message.includes(HANG_UP) || Math.abs(idleMs - this.#idleLimitMs) > CLOSE_MS) throw error;
        this.met += 1;
        return ask();
      });
      this.#answeredMs = performance.now();
      if (status === 200 || status === 202) this.accepted.push(id);
      else this.failures.push(`${route} status ${status}`);
    } catch (error) {
      this.failures.push(`${route} ${(error as Error).message}`);
    }
  }

  ask(path: string, body: string | undefined, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const options = {
      host: '127.0.0.1',
      port: this.#port,
      localAddress: this.#address,
      path,
      method: body === undefined ? 'GET' : 'POST',
      agent: this.#agent,
      timeout: 15_000,
      headers: {
        ...headers,
        ...(body !== undefined && { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }),
      },
    };
    const outgoing = request(options, (response) => {
      response.on('error', reject);
      response.resume();
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers }));
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within 15 s')));
    outgoing.on('error', reject);
    outgoing.end(body);
    return promise;
  }

  close(): void {
    this.#agent.destroy();
  }
}
