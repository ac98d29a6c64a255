/**
 * Networks: whether an address is in the networks of a user and of a key. Each list is sorted intervals (AddressSet),
 * made when it is first needed and kept as long as the list: a look-up takes microseconds, whatever its length.
 */
import { AddressSet } from '../../http/address.ts';
import type { GatewayKey, GatewayUser } from '../model.ts';

const sets = new WeakMap<readonly string[], AddressSet>();

/** An empty list: every network. */
function allows(networks: readonly string[], address: string): boolean {
  if (networks.length === 0) return true;
  let set = sets.get(networks);
  if (set === undefined) {
    set = new AddressSet(networks);
    sets.set(networks, set);
  }
  return set.has(address);
}

/** Not asked for signed URLs: who looks at a picture is anywhere. */
export const mayComeFrom = (user: GatewayUser, key: GatewayKey, address: string): boolean =>
  allows(user.networks, address) && allows(key.networks, address);
