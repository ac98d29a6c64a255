/**
 * Bounded: the handlers of routes that ask for a key. What comes without a right one counts against its address
 * (access/attempts.ts), and past IP_REQUESTS_PER_MINUTE it is answered accessErrors.TOO_MANY_ATTEMPTS. Each port of a
 * process counts for itself.
 *
 * Each request has an id, the client's or a new one: its answer bears it, and so do lines of the log about it.
 */
import type { HttpRequest } from 'uWebSockets.js';
import { Attempts, createAttempts } from '../access/attempts.ts';
import { addressReader } from '../http/client-address.ts';
import type { Handler } from '../http/handlers.ts';
import { type LaterOptions, later, type Reply } from '../http/reply.ts';
import { RequestIds } from '../http/request-id.ts';
import type { AcceptorFrame } from '../service/contract.ts';
import type { SmsValues } from './sms.ts';

/** Memory that the acceptors of a role share. */
export interface SmsShared {
  /** access/attempts.ts */
  readonly attempts: SharedArrayBuffer;
}

export const createShared = (): SmsShared => ({ attempts: createAttempts() });

/** `address`: the client's, in its one spelling. */
export type BoundedAnswer = (reply: Reply, req: HttpRequest, address: string) => Promise<void>;
/** As later() of http/reply.ts. */
export type Bounded = (answer: BoundedAnswer, options?: LaterOptions) => Handler;

export const ids = new RequestIds();

type Frame = Pick<AcceptorFrame<SmsValues, SmsShared>, 'values' | 'shared' | 'rehearsing'>;

export function boundedBy({ values, shared, rehearsing }: Frame): Bounded {
  // A rehearsal counts against nobody.
  const memory = rehearsing ? createAttempts(1) : shared.attempts;
  const attempts = new Attempts(memory, values.sms.ipRequestsPerMinute);
  const addressOf = addressReader(values.http);
  return (answer, options) => {
    /** Of the request that is being handled: headers cannot be read any more when the answer is known. */
    let current = '';
    const handler = later(async (reply, req) => {
      const address = current;
      reply.identify(ids.of(req));
      try {
        await answer(reply, req, address);
      } catch (error) {
        throw attempts.judged(error, address);
      }
    }, options);
    return (res, req, at) => {
      current = addressOf(res, req);
      handler(res, req, at);
    };
  };
}
