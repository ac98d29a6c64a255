/** Who sends a request, by what it shows. */
import { expect, test } from 'vitest';
import { type ApiKey, digestOf, makeKey, renewKey } from '../../../src/access/api-key.ts';
import { RingmainError } from '../../../src/kernel/errors.ts';
import { Callers } from '../../../src/sms/customers/callers.ts';
import { actsFor, mustActFor, mustAdminister, mustShowKey } from '../../../src/sms/customers/contract.ts';
import type { CustomerKey } from '../../../src/sms/customers/known-keys.ts';

const PEPPER = '0123456789abcdef0123456789abcdef';
const ADMIN = 'an-admin-key-an-admin-key-an-admin-key';
const NOW = 1_000_000;
const key = makeKey('sms', 'live');
const secretOf = (one: ApiKey) => ({ digest: digestOf(PEPPER, one).toString('hex') });
const known = (more: Partial<CustomerKey> = {}): CustomerKey => ({
  ...{ customerId: 'ada', secrets: [secretOf(key)], expiresAtMs: null, active: true },
  ...more,
});

interface Rig {
  readonly callers: Callers;
  readonly keys: Map<string, CustomerKey>;
  looks(): number;
}
function rig(options: { everybody?: boolean; known?: boolean; found?: () => void; adminKey?: string } = {}): Rig {
  const keys = new Map<string, CustomerKey>();
  let looks = 0;
  const callers = new Callers({
    keys: { known: options.known ?? true, key: (id) => keys.get(id) },
    ...{ pepper: PEPPER, adminKey: 'adminKey' in options ? options.adminKey : ADMIN, now: () => NOW },
    everybody: options.everybody ?? false,
    look: async () => {
      looks += 1;
      options.found?.();
    },
  });
  return { callers, keys, looks: () => looks };
}

/** The kind and customer of the caller, or the code of the refusal. */
async function who({ callers }: Rig, apiKey: string, authorization = ''): Promise<string> {
  try {
    const caller = await callers.identify(apiKey, authorization);
    return caller.kind === 'customer' ? `${caller.customerId} by ${caller.keyId}` : caller.kind;
  } catch (error) {
    if (error instanceof RingmainError) return error.code;
    throw error;
  }
}

test('a key is good in either header, and ADMIN_KEY behind Bearer alone', async () => {
  const one = rig();
  one.keys.set(key.id, known());
  expect(await who(one, key.text)).toBe(`ada by ${key.id}`);
  expect(await who(one, '', `Bearer ${key.text}`)).toBe(`ada by ${key.id}`);
  expect(await who(one, '', `bearer ${ADMIN}`)).toBe('admin');
  expect(await who(one, ADMIN)).toBe('KEY_INVALID');
  expect(await who(one, '', 'Basic YTpi')).toBe('KEY_INVALID');
  expect(await who(one, '', `Bearer ${ADMIN}x`)).toBe('KEY_INVALID');
  expect(await who(one, '')).toBe('KEY_REQUIRED');
  expect(one.looks()).toBe(0);
});

test('without ADMIN_KEY nothing is that key', async () => {
  const one = rig({ adminKey: undefined as unknown as string });
  expect(await who(one, '', 'Bearer undefined')).toBe('KEY_INVALID');
  expect(await who(one, '', `Bearer ${ADMIN}`)).toBe('KEY_INVALID');
});

test('ACCESS=open is for who shows nothing: a wrong key is refused all the same', async () => {
  const one = rig({ everybody: true });
  expect(await who(one, '')).toBe('open');
  expect(await who(one, 'wrong')).toBe('KEY_INVALID');
  expect(await who(one, '', `Bearer ${ADMIN}`)).toBe('admin');
});

test('a key that expired, was revoked, or whose customer is not active is refused', async () => {
  const one = rig();
  one.keys.set(key.id, known({ expiresAtMs: NOW + 1 }));
  expect(await who(one, key.text)).toBe(`ada by ${key.id}`);
  one.keys.set(key.id, known({ expiresAtMs: NOW }));
  expect(await who(one, key.text)).toBe('KEY_INVALID');
  one.keys.set(key.id, known({ active: false }));
  expect(await who(one, key.text)).toBe('CUSTOMER_INACTIVE');
  one.keys.delete(key.id);
  expect(await who(one, key.text)).toBe('KEY_INVALID');
});

test('a right key that is not known yet is asked for once; a typo is not', async () => {
  const made: Rig = rig({ found: () => void made.keys.set(key.id, known()) });
  expect(await who(made, `${key.text.slice(0, -1)}!`)).toBe('KEY_INVALID');
  expect(made.looks()).toBe(0);
  expect(await who(made, key.text)).toBe(`ada by ${key.id}`);
  expect(await who(made, key.text)).toBe(`ada by ${key.id}`);
  expect(made.looks()).toBe(1);
  // Another secret under the same id.
  const forged = rig();
  forged.keys.set(key.id, known({ secrets: [{ digest: 'ab'.repeat(32) }] }));
  expect(await who(forged, key.text)).toBe('KEY_INVALID');
});

test('while nothing was read, a key is neither right nor wrong', async () => {
  expect(await who(rig({ known: false }), key.text)).toBe('ACCESS_UNKNOWN');
});

test('what a caller may do', () => {
  const [open, admin] = [{ kind: 'open' }, { kind: 'admin' }] as const;
  const ada = { kind: 'customer', customerId: 'ada', keyId: 'k' } as const;
  expect([open, admin, ada].map((one) => actsFor(one, 'ada'))).toEqual([true, true, true]);
  expect([open, admin, ada].map((one) => actsFor(one, 'bob'))).toEqual([true, true, false]);
  expect(() => mustActFor(ada, 'bob')).toThrow(/one of the customer/);
  expect(() => mustShowKey(open)).toThrow(/also with ACCESS=open/);
  expect(() => mustShowKey(ada)).not.toThrow();
  expect(() => mustAdminister(open)).toThrow(/for administrators/);
  expect(() => mustAdminister(ada)).toThrow(/a key of a customer does not open it/);
  expect(() => mustAdminister(admin)).not.toThrow();
});

test('during the overlap of a rotation both secrets are good, then the new one alone', async () => {
  const one = rig();
  const renewed = renewKey('sms', 'live', key.id);
  const secrets = (untilMs: number) => known({ secrets: [secretOf(renewed), { ...secretOf(key), untilMs }] });
  one.keys.set(key.id, secrets(NOW + 1));
  expect(await who(one, key.text)).toBe(`ada by ${key.id}`);
  expect(await who(one, renewed.text)).toBe(`ada by ${key.id}`);
  one.keys.set(key.id, secrets(NOW));
  expect(await who(one, key.text)).toBe('KEY_INVALID');
  expect(await who(one, renewed.text)).toBe(`ada by ${key.id}`);
});
