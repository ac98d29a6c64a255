/** Request ids: the client's, when it has the shape of one, else one that no other thread and no other start makes. */
import { randomBytes } from 'node:crypto';
import type { Marks, Route } from './router.ts';
import { wireText } from './wire-text.ts';

export const REQUEST_ID = 'X-Request-Id';
const HEADER = wireText('x-request-id');
const SHAPE = /^[\w.:/+=-]{1,128}$/;
/** 36 to this power requests: the count has always as many digits. */
const DIGITS = 9;
/** The last two digits, ready: toString() to another base than ten, and padStart(), are calls of the runtime. */
const PAIRS = Array.from({ length: 36 * 36 }, (_, i) => i.toString(36).padStart(2, '0'));

export class RequestIds {
  readonly #prefix = randomBytes(8).toString('hex');
  #count = 0;
  /** Everything before the last two digits. */
  #high = '';

  /** Call inside the handler. */
  of(req: { getHeader(name: ArrayBuffer | string): string }): string {
    const given = req.getHeader(HEADER);
    return given !== '' && SHAPE.test(given) ? given : this.#next();
  }

  /** The routes with an id on what the router answers there by itself. */
  marked(routes: readonly Route[]): readonly Route[] {
    const marks: Marks = (req) => [[REQUEST_ID, this.of(req)]];
    return routes.map((route) => ({ ...route, marks }));
  }

  #next(): string {
    const last = this.#count % PAIRS.length;
    if (last === 0) {
      const high = Math.floor(this.#count / PAIRS.length);
      this.#high = `${this.#prefix}-${high.toString(36).padStart(DIGITS - 2, '0')}`;
    }
    this.#count += 1;
    return this.#high + PAIRS[last]!;
  }
}
