import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { parseAddress, parsed } from '../../src/http/address.ts';
import { addressReader, schemeReader, trustProblem } from '../../src/http/client-address.ts';

/** What the reader asks of the addon, and how often it asked the socket, and for all headers. */
function wire(given: Given) {
  const asked = { socket: 0, all: 0 };
  const bytes = (text: string) => {
    const length = parseAddress(text);
    return parsed.slice(0, length).buffer;
  };
  const res = {
    getRemoteAddress: () => {
      asked.socket += 1;
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
      asked.all += 1;
      for (const [key, line] of lines) each(key, line);
    },
  } as unknown as HttpRequest;
  return { res, req, asked };
}

function ask(policy: { trustProxy: string; clientIpHeader?: string; proxyProtocol?: boolean }, given: Given) {
  const { res, req, asked } = wire(given);
  const read = addressReader({ clientIpHeader: 'x-forwarded-for', proxyProtocol: false, ...policy });
  return { address: read(res, req), calls: asked.socket, all: asked.all };
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

/** An entry of a header and the address that it holds, '' for none. */
const entries: Readonly<Record<string, readonly (readonly [entry: string, address: string])[]>> = {
  'X-Forwarded-For': [
    ['2001:db8:0:1:2:3:4:5', '2001:db8:0:1:2:3:4:5'],
    ['2001:db8:0:1:2:3:4:5:443', '2001:db8:0:1:2:3:4:5'],
    ['2001:db8:0:1:2:3:4:5:44300', '2001:db8:0:1:2:3:4:5'],
    ['2001:db8::9:44300', '2001:db8::9'],
    // Ambiguous: without brackets a port of four digits is a group.
    ['2001:db8::9:9985', '2001:db8::9:9985'],
    ['2001:db8::9:99999', ''],
    ['1.2.3.4:65536', ''],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['[::ffff:1.2.3.4]:80', '1.2.3.4'],
    ['::ffff:102:304', '1.2.3.4'],
    ['fe80::1%eth0', 'fe80::1'],
    ['[fe80::1%25eth0]:80', 'fe80::1'],
    ['[fe80::1%eth0]', 'fe80::1'],
    ['1.2.3.4%eth0', ''],
    ['[2001:db8::1', ''],
    ['[2001:db8::1]x', ''],
    ['[2001:db8::1]:', ''],
    ['unknown', ''],
  ],
  'CloudFront-Viewer-Address': [
    ['2600:300:f:abcd::9:9985', '2600:300:f:abcd::9'],
    ['2600:300:f:abcd:1:2:3:4:9985', '2600:300:f:abcd:1:2:3:4'],
    ['2600:300:f:abcd::9:46532', '2600:300:f:abcd::9'],
    ['::1:80', '::1'],
    ['198.51.100.10:46532', '198.51.100.10'],
    ['[2600:300:f:abcd::9]:9985', '2600:300:f:abcd::9'],
    ['198.51.100.10', '198.51.100.10'],
    ['2600:300::abcd', '2600:300::abcd'],
    ['nonsense:80', ''],
  ],
  'True-Client-IP': [['2001:DB8::1', '2001:db8::1']],
  Forwarded: [
    ['for=192.0.2.60', '192.0.2.60'],
    ['For=192.0.2.60;Proto=http;by=203.0.113.43', '192.0.2.60'],
    ['proto=http; for=192.0.2.60 ; by=203.0.113.43', '192.0.2.60'],
    ['for="192.0.2.60:8080"', '192.0.2.60'],
    ['for="[2001:db8:cafe::17]:4711"', '2001:db8:cafe::17'],
    ['for="[2001:db8:cafe::17]"', '2001:db8:cafe::17'],
    ['for=[2001:db8:cafe::17]', '2001:db8:cafe::17'],
    ['for="[::ffff:1.2.3.4]"', '1.2.3.4'],
    ['for="192.0.2.43:_gazonk"', '192.0.2.43'],
    ['for="\\192.0.2.43"', '192.0.2.43'],
    ['host="a, b; for=6.6.6.6";for=192.0.2.60', '192.0.2.60'],
    ['host="a\\", for=6.6.6.6";for=192.0.2.60', '192.0.2.60'],
    ['for=unknown', ''],
    ['for=_hidden', ''],
    ['for="_SEVKISEK"', ''],
    ['by=203.0.113.43', ''],
    ['for=1.1.1.1;for=2.2.2.2', ''],
    ['for = 1.1.1.1', ''],
    ['1.1.1.1', ''],
    ['for="1.1.1.1', ''],
  ],
};
for (const [clientIpHeader, rows] of Object.entries(entries)) {
  test(`${clientIpHeader}: the address of an entry, without brackets, port and zone; what is none is not guessed at`, () => {
    for (const [entry, address] of rows) {
      const given = { socket: '10.0.0.1', headers: { [clientIpHeader.toLowerCase()]: entry } };
      for (const trustProxy of ['true', '1', '10.0.0.0/8'])
        assert.equal(
          ask({ trustProxy, clientIpHeader }, given).address,
          address || '10.0.0.1',
          `${trustProxy} ${entry}`,
        );
    }
  });
}

test('Forwarded: a chain is walked from the right, and no quote of a client swallows the entry of our proxy', () => {
  const rows: readonly (readonly [trust: string, header: string, address: string])[] = [
    ['true', 'for=1.1.1.1, for=2.2.2.2', '1.1.1.1'],
    ['true', 'host="a,b";for=1.1.1.1,for=2.2.2.2', '1.1.1.1'],
    ['1', 'for=6.6.6.6, for=1.1.1.1', '1.1.1.1'],
    ['2', 'for=6.6.6.6, for="[2001:db8::1]:80", for=10.0.0.2', '2001:db8::1'],
    ['10.0.0.0/8', 'for=6.6.6.6, for="1.1.1.1:80";proto=https, for=10.0.0.2', '1.1.1.1'],
    ['10.0.0.0/8', 'for=1.1.1.1, for=_hidden, for=10.0.0.2', '10.0.0.2'],
    ['10.0.0.0/8', 'for="6.6.6.6, for=1.1.1.1', '1.1.1.1'],
    ['1', 'for="\\, for=1.1.1.1', '1.1.1.1'],
    ['10.0.0.0/8', 'for=6.6.6.6\nfor=1.1.1.1\nfor=10.0.0.2', '1.1.1.1'],
    ['1', 'for=1.1.1.1,', '10.0.0.1'],
    ['1', '', '10.0.0.1'],
  ];
  for (const [trustProxy, header, address] of rows) {
    const given = { socket: '10.0.0.1', headers: { forwarded: header } };
    assert.equal(ask({ trustProxy, clientIpHeader: 'Forwarded' }, given).address, address, `${trustProxy} ${header}`);
  }
});

test('Forwarded: long nonsense costs no more than its length', () => {
  const started = performance.now();
  for (const part of ['"', '\\', '\\"', 'a="', ';', '=', 'for=1.1.1.1,']) {
    const given = { socket: '10.0.0.1', headers: { forwarded: part.repeat(32_000 / part.length) } };
    for (const trustProxy of ['true', '32', '1.1.1.1,10.0.0.1'])
      ask({ trustProxy, clientIpHeader: 'Forwarded' }, given);
  }
  assert.ok(performance.now() - started < 5000);
});

test('the scheme of the client is the first entry that a trusted proxy gives, in any case', () => {
  const scheme = (
    policy: { trustProxy: string; clientIpHeader?: string },
    headers: Readonly<Record<string, string>>,
  ) => {
    const { req } = wire({ headers });
    return schemeReader({ clientIpHeader: 'x-forwarded-for', proxyProtocol: false, ...policy })(req);
  };
  const proto = (value: string) => scheme({ trustProxy: '1' }, { 'x-forwarded-proto': value });
  assert.deepEqual(['https', 'HTTPS', ' https , http', 'http,https', ''].map(proto), [
    'https',
    'https',
    'https',
    'http',
    '',
  ]);
  assert.equal(scheme({ trustProxy: 'false' }, { 'x-forwarded-proto': 'https' }), '');
  const forwarded = { forwarded: 'for=1.1.1.1;proto="HTTPS", for=10.0.0.2;proto=http' };
  assert.equal(scheme({ trustProxy: '2', clientIpHeader: 'Forwarded' }, forwarded), 'https');
  assert.equal(scheme({ trustProxy: '2' }, forwarded), '');
});

test('the socket is not asked when a trusted header gave the address', () => {
  assert.equal(ask({ trustProxy: 'true' }, xff('1.1.1.1')).calls, 0);
  assert.equal(ask({ trustProxy: '1' }, xff('1.1.1.1')).calls, 0);
});

test('all headers cross over from the addon only for a header that may have several lines, and only for a trusted socket', () => {
  const headers = { 'cf-connecting-ip': '1.1.1.1', 'x-forwarded-for': '1.1.1.1' };
  const all = (trustProxy: string, clientIpHeader: string, socket = '10.0.0.1') =>
    ask({ trustProxy, clientIpHeader }, { socket, headers }).all;
  assert.equal(all('10.0.0.0/8', 'x-forwarded-for'), 1);
  assert.equal(all('10.0.0.0/8', 'x-forwarded-for', '9.9.9.9'), 0);
  assert.equal(all('true', 'x-forwarded-for'), 0);
  assert.equal(all('10.0.0.0/8', 'CF-Connecting-IP'), 0);
  assert.equal(all('1', 'CF-Connecting-IP'), 0);
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
