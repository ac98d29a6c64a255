/** Keep-alive clients that repeat nothing: a request that does not get its 2xx is a finding, whatever the reason. */
import { Agent, type IncomingHttpHeaders, request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** One client: one connection at a time, kept as long as the other side keeps it, from an address of its own. */
export class Client {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1, scheduling: 'fifo' });
  readonly #port: number;
  readonly #address: string;
  sent = 0;
  readonly accepted: string[] = [];
  readonly failures: string[] = [];

  /** `address`: one of 127.0.0.0/8, what the events should carry as ip. */
  constructor(port: number, address: string) {
    this.#port = port;
    this.#address = address;
  }

  /** Sends one event by its route; its id is kept when the answer is 2xx, the reason when not. */
  async send(route: 'px' | 'collect', id: string, headers: Readonly<Record<string, string>> = {}): Promise<void> {
    this.sent += 1;
    try {
      const body =
        route === 'collect' ? JSON.stringify({ e: 'load', event_id: id, props: { by: 'collect' } }) : undefined;
      const path = route === 'px' ? `/px.gif?e=load&event_id=${id}&by=px` : '/collect';
      const { status } = await this.ask(path, body, headers);
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
