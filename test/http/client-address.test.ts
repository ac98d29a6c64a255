import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { parseAddress, parsed } from '../../src/http/address.ts';
import { addressReader, trustProblem } from '../../src/http/client-address.ts';

/** What the reader asks of the addon, and how often it asked the socket. */
function ask(policy: { trustProxy: string; clientIpHeader?: string; proxyProtocol?: boolean }, given: Given) {
  let calls = 0;
  const bytes = (text: string) => {
    const length = parseAddress(text);
    return parsed.slice(0, length).buffer;
  };
  const res = {
    getRemoteAddress: () => {
      calls += 1;
      return bytes(given.socket ?? '');
    },
    getProxiedRemoteAddress: () => bytes(given.proxied ?? ''),
  } as unknown as HttpResponse;
  const lines = Object.entries(given.headers ?? {}).flatMap(([key, value]) =>
    value.split('\n').map((line) => [key, line] as const),
  );
  const req = {
    // As the addon does it: the first line of a name.
    getHeader: (name: ArrayBuffer) => lines.find(([key]) => key === Buffer.from(name).toString())?.[1] ?? '',
    forEach: (each: (key: string, value: string) => void) => {
      for (const [key, line] of lines) each(key, line);
    },
  } as unknown as HttpRequest;
  const read = addressReader({ clientIpHeader: 'x-forwarded-for', proxyProtocol: false, ...policy });
  return { address: read(res, req), calls };
}
interface Given {
  readonly socket?: string;
  readonly proxied?: string;
  readonly headers?: Readonly<Record<string, string>>;
}
const xff = (value: string, socket = '10.0.0.1'): Given => ({ socket, headers: { 'x-forwarded-for': value } });

const cases: readonly (readonly [policy: string, given: Given, address: string])[] = [
  ['false', xff('1.1.1.1'), '10.0.0.1'],
  ['false', { socket: '::ffff:10.0.0.7' }, '10.0.0.7'],
  ['false', { socket: '2001:db8::7' }, '2001:db8::7'],
  ['false', {}, ''],
  ['true', xff('1.1.1.1'), '1.1.1.1'],
  ['true', xff(' 1.1.1.1 , 2.2.2.2'), '1.1.1.1'],
  ['true', xff('2001:DB8::1'), '2001:db8::1'],
  ['true', xff('::ffff:1.2.3.4'), '1.2.3.4'],
  ['true', xff('1.1.1.1:5678'), '1.1.1.1'],
  ['true', xff('[2001:db8::1]:443, 2.2.2.2'), '2001:db8::1'],
  ['true', xff('[2001:db8::1]'), '2001:db8::1'],
  ['true', xff('[1.2.3.4]'), '10.0.0.1'],
  ['true', xff('unknown, 2.2.2.2'), '10.0.0.1'],
  ['true', xff("'; DROP TABLE events; --"), '10.0.0.1'],
  ['true', xff('1.1.1.1:x'), '10.0.0.1'],
  ['true', xff(''), '10.0.0.1'],
  ['1', xff('6.6.6.6, 1.1.1.1'), '1.1.1.1'],
  ['2', xff('6.6.6.6, 1.1.1.1, 10.0.0.2'), '1.1.1.1'],
  ['3', xff('1.1.1.1'), '1.1.1.1'],
  ['1', xff(''), '10.0.0.1'],
  ['2', xff('6.6.6.6, garbage, 10.0.0.2'), '10.0.0.2'],
  ['2', xff('garbage'), '10.0.0.1'],
  ['2', xff('1.1.1.1,,10.0.0.2'), '10.0.0.2'],
  ['10.0.0.0/8', xff('6.6.6.6, 1.1.1.1, 10.0.0.2'), '1.1.1.1'],
  ['10.0.0.0/8', xff('1.1.1.1', '9.9.9.9'), '9.9.9.9'],
  ['10.0.0.0/8', xff('10.0.0.3, 10.0.0.2'), '10.0.0.3'],
  ['10.0.0.0/8', xff('1.1.1.1, garbage, 10.0.0.2'), '10.0.0.2'],
  ['10.0.0.0/8, 2001:db8::/32', xff('2001:db9::1, 2001:db8::1'), '2001:db9::1'],
  ['10.0.0.0/8', xff(''), '10.0.0.1'],
  // A proxy may add a line of its own instead of continuing the client's.
  ['1', xff('6.6.6.6\n1.1.1.1'), '1.1.1.1'],
  ['2', xff('6.6.6.6\n1.1.1.1\n10.0.0.2'), '1.1.1.1'],
  ['10.0.0.0/8', xff('6.6.6.6, 7.7.7.7\n1.1.1.1, 10.0.0.2'), '1.1.1.1'],
  ['true', xff('1.1.1.1\n10.0.0.2'), '1.1.1.1'],
];
for (const [trustProxy, given, address] of cases) {
  test(`TRUST_PROXY=${trustProxy} takes ${address || 'nothing'} from ${JSON.stringify(given)}`, () => {
    assert.equal(ask({ trustProxy }, given).address, address);
  });
}

test('the socket is not asked when a trusted header gave the address', () => {
  assert.equal(ask({ trustProxy: 'true' }, xff('1.1.1.1')).calls, 0);
  assert.equal(ask({ trustProxy: '1' }, xff('1.1.1.1')).calls, 0);
});

test('CLIENT_IP_HEADER names another header, in any case, and X-Forwarded-For is then nothing', () => {
  const given = { socket: '10.0.0.1', headers: { 'cf-connecting-ip': '1.1.1.1', 'x-forwarded-for': '6.6.6.6' } };
  assert.equal(ask({ trustProxy: 'true', clientIpHeader: 'CF-Connecting-IP' }, given).address, '1.1.1.1');
});

test('PROXY_PROTOCOL takes what the load balancer says for the socket, and the socket when it says nothing', () => {
  const policy = { trustProxy: 'false', proxyProtocol: true };
  assert.equal(ask(policy, { socket: '10.0.0.1', proxied: '1.1.1.1' }).address, '1.1.1.1');
  assert.equal(ask(policy, { socket: '10.0.0.1' }).address, '10.0.0.1');
});

test('a TRUST_PROXY that means nothing is named', () => {
  for (const good of ['false', 'true', '0', '2', '10.0.0.0/8', '10.0.0.0/8, ::1'])
    assert.equal(trustProblem(good), undefined);
  for (const bad of ['maybe', '10.0.0.0/40', '99', '10.0.0.0/8,', 'loopback'])
    assert.match(trustProblem(bad)!, /found=/, bad);
});
