/**
 * Incoming body: the body of one request on its way to its route.
 *
 *   held      while the pipeline decides later than the handler has returned (incoming-source.ts)
 *   flowing   into the sink of a route, as it comes (request-body.ts)
 *   whole     collected within MAX_BODY_BYTES, and unpacked (http/body.ts)
 *
 * Requests without a body have none of this.
 */
import type { HttpResponse } from 'uWebSockets.js';
import { type BodyRead, type BodyReader, bodyProblem } from '../../http/body.ts';
import type { Encoding } from '../../http/decompress.ts';
import type { Framing } from '../../http/guards.ts';
import type { Problem } from '../../kernel/errors.ts';
import type { BodySink } from './exchange.ts';
import { IncomingSource } from './incoming-source.ts';
import { RequestBody } from './request-body.ts';

/** The client has gone, or the time was over: what waits for a body ends with this. It is no fault. */
export class ExchangeEnded extends Error {
  override readonly name = 'ExchangeEnded';
}

export interface IncomingHooks {
  /** The last byte has flowed into the sink. */
  bodyEnded(): void;
  /** It flows beyond its limit. */
  bodyTooLarge(bytes: number, limit: number): void;
  /** It cannot be had whole. */
  bodyFailed(said: Problem): void;
  /** The client has gone. */
  gone(): void;
}

export class IncomingBody {
  readonly source: IncomingSource;
  readonly #framing: Framing;
  readonly #hooks: IncomingHooks;
  #asked = false;
  #flow: RequestBody | undefined = undefined;
  #whole: BodyRead | undefined = undefined;
  #wholeBytes = 0;
  #endWhole: (() => void) | undefined = undefined;

  /** Call inside the handler. */
  constructor(res: HttpResponse, framing: Framing, hooks: IncomingHooks) {
    this.source = new IncomingSource(res, () => hooks.gone());
    this.#framing = framing;
    this.#hooks = hooks;
  }

  get flow(): RequestBody | undefined {
    return this.#flow;
  }

  /** Bytes that have come, of a whole body when it is there. */
  get bytes(): number {
    return this.#wholeBytes + (this.#flow?.bytes ?? 0);
  }

  /** Lets it flow into the sink from start() on. */
  into(sink: BodySink, bytesMax: number): RequestBody {
    this.#asked = true;
    this.#flow = new RequestBody(this.source, bytesMax, this.#framing.chunked, sink, {
      ended: () => this.#hooks.bodyEnded(),
      tooLarge: (bytes) => this.#hooks.bodyTooLarge(bytes, bytesMax),
      gone: () => this.#hooks.gone(),
    });
    return this.#flow;
  }

  /** All of it. Rejects when the exchange has answered or ended meanwhile. */
  read(bodies: BodyReader, packing: Encoding): Promise<Buffer> {
    this.#asked = true;
    return new Promise((resolve, reject) => {
      let over = false;
      const end = () => {
        over = true;
        this.#whole = undefined;
      };
      this.#endWhole = () => reject(new ExchangeEnded());
      const whole = bodies.read(this.source, this.#framing, packing, {
        body: (bytes) => {
          end();
          this.#wholeBytes = bytes.length;
          resolve(Buffer.from(bytes));
        },
        failed: (failure) => {
          end();
          this.#hooks.bodyFailed(bodyProblem(failure, bodies.limits, packing));
          reject(new ExchangeEnded());
        },
        aborted: () => this.#hooks.gone(),
      });
      // What was held may be here already.
      if (!over) this.#whole = whole;
    });
  }

  /** The decision is made: what was held and nobody has asked for passes by. */
  dropUnasked(): void {
    if (!this.#asked) this.source.pass();
  }

  /** The request is answered: nobody reads what still comes. */
  drop(): void {
    this.dropUnasked();
    this.#whole?.drop();
    this.#flow?.drop();
  }

  /** The client has gone. */
  lost(): void {
    this.#flow?.lost();
    this.end();
  }

  /** Nobody waits for the whole of it any more. */
  end(): void {
    this.#endWhole?.();
  }
}
