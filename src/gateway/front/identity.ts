/** Identity: what the pipeline asks of the parts that know keys, networks and limits. All of it is synchronous. */
import type { Identifier } from '../keys/identify.ts';
import type { Window } from '../limits/limiter.ts';
import type { GatewayKey, GatewayUser } from '../model.ts';

export type Identifies = Pick<Identifier, 'identify'>;

/** Whether a key may be used from an address. */
export type MayComeFrom = (user: GatewayUser, key: GatewayKey, address: string) => boolean;

/** Which windows bind whom. */
export interface Windows {
  ofAddress(address: string): readonly Window[];
  ofKey(user: GatewayUser, key: GatewayKey): readonly Window[];
}
