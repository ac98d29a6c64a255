/**
 * Goal: the doctor warns of certificates that end soon and of addresses that are not those of visitors, and of nothing else.
 * Method: a real certificate of thirty days seen on later days; addresses as /proc has them.
 */
import { expect, test } from 'vitest';
import type { Finding } from '../../../src/kernel/finding.ts';
import { addressOf, certificateFindings, proxyFindings } from '../../../src/service/doctor/front.ts';
import { authority } from '../../servers/certificates.ts';

const DAY_MS = 86_400_000;
const shown = (findings: Iterable<Finding>): string[] =>
  [...findings].map(({ severity, text }) => `${severity}: ${text}`);

test('addresses of /proc/net/tcp and tcp6 are read, IPv4 in IPv6 as IPv4', () => {
  expect(addressOf('0100007F')).toBe('127.0.0.1');
  expect(addressOf('0204A8C0')).toBe('192.168.4.2');
  expect(addressOf('0000000000000000FFFF00000302000A')).toBe('10.0.2.3');
  expect(addressOf('00000000000000000000000001000000')).toBe('::1');
  expect(addressOf('B80D0120000000000000000001000000')).toBe('2001:db8::1');
});

test('a certificate that has expired is an error, one that ends within two weeks a warning', async (t) => {
  const { keyFile, certificateFile } = await (await authority(t)).issue('front');
  const at = (days: number) =>
    shown(certificateFindings({ cert: certificateFile, key: keyFile }, Date.now() + days * DAY_MS));
  expect(at(0)).toEqual([expect.stringMatching(/^ok: the certificate for localhost, .* is valid until/)]);
  expect(at(24.5)).toEqual([expect.stringMatching(/^warning: .*: 5 days$/)]);
  expect(at(31)).toEqual([expect.stringMatching(/^error: .*: it has expired$/)]);
  expect(shown(certificateFindings({ cert: keyFile, key: keyFile }, Date.now()))).toEqual([
    expect.stringMatching(/^error: TLS_CERT and TLS_KEY must be a PEM pair/),
  ]);
});

const none = { trustProxy: 'false', clientIpHeader: 'x-forwarded-for', proxyProtocol: false };

test('a private address that connects looks like a proxy that nobody trusts; the own host does not', () => {
  for (const peer of ['10.1.2.3', '172.16.0.9', '172.31.0.9', '192.168.4.2', '100.64.0.1', 'fd00::1'])
    expect(shown(proxyFindings(none, [peer], false))).toEqual([
      `note: connected now: ${peer}`,
      `warning: connections come from ${peer}, which looks like a proxy; every event gets its address`,
    ]);
  for (const peer of ['127.0.0.1', '::1', '172.32.0.1', '100.128.0.1', '203.0.113.9', '2001:db8::1'])
    expect(shown(proxyFindings(none, [peer], false))).toEqual([
      `note: connected now: ${peer}`,
      'ok: the client address comes from the socket (TRUST_PROXY=false)',
    ]);
  for (const off of ['no', 'off', '0'])
    expect(shown(proxyFindings({ ...none, trustProxy: off }, ['10.1.2.3'], false))[1]).toMatch(/^warning: .* a proxy/);
});

test('a pod without TRUST_PROXY is a warning', () => {
  expect(shown(proxyFindings(none, [], true))).toEqual([expect.stringMatching(/^warning: this is a pod/)]);
  expect(shown(proxyFindings({ ...none, trustProxy: '1' }, [], true))).toEqual([
    expect.stringMatching(/^ok: the client address comes from the proxy's header \(TRUST_PROXY=1\)/),
  ]);
});

test('TRUST_PROXY=true is a warning, and so are clients that come past the proxies', () => {
  for (const trustProxy of ['true', 'yes', 'on'])
    for (const proxyProtocol of [true, false])
      expect(shown(proxyFindings({ ...none, trustProxy, proxyProtocol }, [], false))[1]).toBe(
        `warning: TRUST_PROXY=${trustProxy} trusts any address that a client writes into x-forwarded-for`,
      );
  // A CDN sets its header in place of the client's.
  const cdn = { ...none, trustProxy: 'true', clientIpHeader: 'cf-connecting-ip' };
  expect(shown(proxyFindings(cdn, [], false))).toHaveLength(1);
  const past = shown(proxyFindings({ ...none, proxyProtocol: true }, ['10.0.0.1', '127.0.0.1', '203.0.113.9'], false));
  expect(past).toEqual([
    'note: connected now: 10.0.0.1, 127.0.0.1, 203.0.113.9',
    'ok: the client address comes from the PROXY header',
    'warning: some connections come directly from the internet: 203.0.113.9',
  ]);
});
