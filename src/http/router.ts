/** Router: see issue; placeholder types until the http room has it. */
import type { Cors } from './cors.ts';
import type { Handler } from './handlers.ts';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export interface Route {
  /** Metric label and span name. */
  readonly name: string;
  /** As the addon has it: '/events', '/users/:id', '/files/*'. */
  readonly path: string;
  readonly cors?: Cors;
  readonly on: Partial<Record<Method, Handler>>;
}
