/** A registry of one user with one key, for tests of what asks it. */
import { digestOf, makeKey, renewKey } from '../../../src/access/api-key.ts';
import type { GatewayKey, GatewayUser } from '../../../src/gateway/model.ts';
import type { Registry } from '../../../src/gateway/registry/registry.ts';
import { PEPPER } from '../database.ts';

export const user: GatewayUser = {
  ...{ id: 1, username: 'ada', email: 'ada@example.com', active: true },
  ...{ rates: {}, quota: {}, networks: [] },
};
export const first = makeKey('rm', 'live');
/** Of the key after a rotation. */
export const second = renewKey('rm', 'live', first.id);
export const secret = (version: number, text: string, untilMs?: number) => ({
  version,
  digest: digestOf(PEPPER, { text }).toString('hex'),
  ...(untilMs === undefined ? {} : { untilMs }),
});
export const key: GatewayKey = {
  ...{ id: first.id, userId: 1, name: '', scopes: ['read'], networks: [], rates: {} },
  secrets: [secret(1, first.text)],
};

export class Known implements Registry {
  readonly keys = new Map<string, GatewayKey>([[key.id, key]]);
  readonly users = new Map<number, GatewayUser>([[1, user]]);
  known = true;
  /** For keys. */
  looks = 0;
  readonly backends = [];
  readonly purges = [];
  key(id: string) {
    this.looks += 1;
    return this.keys.get(id);
  }
  user(id: number) {
    return this.users.get(id);
  }
  onChange = () => () => undefined;
  close = () => undefined;
}
