/**
 * Sender: one POST to a customer's URL.
 *
 *   signature  Ringmain-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 over "<t>.<body>"> under the customer's secret
 *   address    looked up once, checked, and connected to as it was found: a name that changes in between, or that has a
 *              private address beside a public one, reaches nothing. Redirects are answers like any other that is not
 *              2xx
 *   bounds     one deadline for everything; at most ANSWER_BYTES_MAX of an answer are read
 */
import { type LookupAddress, type LookupOptions, lookup as lookupName } from 'node:dns';
import { isIP } from 'node:net';
import { Agent, buildConnector, request } from 'undici';
import { signature } from '../../sinks/http/sink.ts';
import { isPublicAddress } from './public-address.ts';

const ANSWER_BYTES_MAX = 16 * 1024;
const KEEP_ALIVE_MS = 4000;

export interface Outgoing {
  /** The same in each try: receivers drop what they have seen. */
  readonly id: string;
  readonly url: string;
  readonly body: Buffer;
  /** Of the customer. */
  readonly secret: string;
}

export interface SenderOptions {
  readonly allowPrivate: boolean;
  readonly timeoutMs: number;
  /** Ms since 1970: the time that is signed. */
  readonly now: () => number;
  /** For tests: names without a DNS server. */
  readonly lookup?: typeof lookupName;
}

type Found = (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void;

class PrivateAddress extends Error {
  readonly code = 'PRIVATE_ADDRESS';

  constructor() {
    super('the address is not public, and CALLBACK_ALLOW_PRIVATE is off');
  }
}

export class CallbackSender {
  readonly #options: SenderOptions;
  readonly #agent: Agent;

  constructor(options: SenderOptions) {
    this.#options = options;
    const { timeoutMs, allowPrivate } = options;
    const connect = buildConnector({
      allowH2: false,
      timeout: timeoutMs,
      lookup: (name, wishes, found) => this.#lookup(name, wishes, found as Found),
    });
    this.#agent = new Agent({
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      connect: (target, done) => {
        // No look-up is made for a URL with an address in it.
        const literal = target.hostname.replace(/^\[|\]$/g, '');
        if (!allowPrivate && isIP(literal) !== 0 && !isPublicAddress(literal)) done(new PrivateAddress(), null);
        else connect(target, done);
      },
    });
  }

  /** Undefined: it is delivered; else what has failed, without the URL, which may hold a secret. */
  async send({ id, url, body, secret }: Outgoing, signal: AbortSignal): Promise<string | undefined> {
    const { now, timeoutMs } = this.#options;
    const headers: Record<string, string> = {
      'content-type': 'application/json',
      'user-agent': 'ringmain',
      'idempotency-key': id,
      'ringmain-signature': signature(secret, Math.floor(now() / 1000), body),
    };
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      const { protocol } = new URL(url);
      if (protocol !== 'http:' && protocol !== 'https:') return 'the URL is neither http nor https';
      const answer = await request(url, { method: 'POST', headers, body, dispatcher: this.#agent, signal: deadline });
      const { statusCode } = answer;
      // What stands in the answer is nobody's business; an answer without an end is cut off, and its status counts.
      await answer.body.dump({ limit: ANSWER_BYTES_MAX }).catch(() => undefined);
      return statusCode >= 200 && statusCode < 300 ? undefined : `status ${statusCode}`;
    } catch (error) {
      if (error instanceof PrivateAddress) return error.message;
      const { code, name } = error as { readonly code?: string; readonly name: string };
      return name === 'TimeoutError' ? `no answer within ${timeoutMs} ms` : (code ?? name);
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  /** All addresses of a name, if every one of them is public. */
  #lookup(name: string, wishes: LookupOptions, found: Found): void {
    const { allowPrivate, lookup = lookupName } = this.#options;
    lookup(name, { ...wishes, all: true }, (error, addresses) => {
      if (error !== null) return found(error, []);
      if (!allowPrivate && !addresses.every(({ address }) => isPublicAddress(address)))
        return found(new PrivateAddress(), []);
      if (wishes.all === true) return found(null, addresses);
      const [first] = addresses;
      found(null, first!.address, first!.family);
    });
  }
}
