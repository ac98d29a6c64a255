/** Area: a part of the gateway that has routes, as it is opened in an acceptor (acceptor.ts). */
import type { Route } from '../http/router.ts';

export interface Area {
  readonly routes: readonly Route[];
  /** Called ten times a second. */
  gauges?(): void;
  /** The drain begins. */
  drain?(): void;
  /** Lets go of what the routes hold. */
  close?(): void;
}
