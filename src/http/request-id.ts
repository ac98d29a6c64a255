/** Request ids: the client's, when it has the shape of one, else one that no other thread and no other start makes. */
import { randomBytes } from 'node:crypto';
import type { Marks, Route } from './router.ts';
import { wireText } from './wire-text.ts';

export const REQUEST_ID = 'X-Request-Id';
const HEADER = wireText('x-request-id');
const SHAPE = /^[\w.:/+=-]{1,128}$/;
/** 36 to this power requests: the count has always as many digits. */
const DIGITS = 9;

export class RequestIds {
  readonly #prefix = randomBytes(8).toString('hex');
  #count = 0;

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
    this.#count += 1;
    return `${this.#prefix}-${this.#count.toString(36).padStart(DIGITS, '0')}`;
  }
}
