/**
 * Refusals: problems whose bodies are made once. Most requests of an attack end with one of a few, so that making the
 * same text again and again would be a tenth of what a refusal costs.
 */
import { problemBody } from '../../http/problem.generated.ts';
import { flat } from '../../http/wire-text.ts';
import { type ErrorMaker, type Problem, problemOf } from '../../kernel/errors.ts';
import { gatewayErrors } from '../errors.ts';
import type { Unidentified } from '../keys/identify.ts';

export interface Refusal {
  readonly status: number;
  /** The body of the answer. */
  readonly body: ArrayBuffer;
  /** Headers of its own, as further lines of the head, each behind the end of the line before. */
  readonly lines: string;
}

/** UTF-8, in memory of its own: of an ArrayBuffer only the address crosses to the addon. */
function bytesOf(text: string): ArrayBuffer {
  const bytes = new ArrayBuffer(Buffer.byteLength(text));
  Buffer.from(bytes).write(text);
  return bytes;
}

/** Seconds after which a client may try again what could not be done now, unless the problem says `retryAfterS`. */
const RETRY_AFTER_S = 1;
/** Limits times seconds until the next request. */
const LIMITED_MAX = 4096;

export function refusalOf(said: Problem): Refusal {
  const { status } = said;
  const { retryAfterS = RETRY_AFTER_S } = said as { readonly retryAfterS?: number };
  const lines =
    (status === 429 || status === 503 ? `\r\nRetry-After: ${retryAfterS}` : '') +
    // RFC 9110, 11.6.1: a 401 says how to authenticate.
    (status === 401 ? '\r\nWWW-Authenticate: Bearer' : '') +
    '\r\nCache-Control: no-store\r\nContent-Type: application/problem+json';
  return { status, body: bytesOf(problemBody(said)), lines: flat(lines) };
}

export class Refusals {
  readonly noRoom = refusalOf(problemOf(gatewayErrors.NO_ROOM, {}));
  readonly #unidentified = new WeakMap<Unidentified, Refusal>();
  readonly #limited = new Map<string, Refusal>();

  unidentified(whose: Unidentified): Refusal {
    let refusal = this.#unidentified.get(whose);
    if (refusal === undefined) {
      refusal = refusalOf(problemOf(whose.error as ErrorMaker<string, object>, whose.fields));
      this.#unidentified.set(whose, refusal);
    }
    return refusal;
  }

  limited(limit: string, retryAfterS: number): Refusal {
    const name = `${limit} ${retryAfterS}`;
    let refusal = this.#limited.get(name);
    if (refusal === undefined) {
      refusal = refusalOf(problemOf(gatewayErrors.RATE_LIMITED, { limit, retryAfterS }));
      if (this.#limited.size >= LIMITED_MAX) this.#limited.clear();
      this.#limited.set(name, refusal);
    }
    return refusal;
  }
}
