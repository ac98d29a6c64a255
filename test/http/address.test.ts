import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { test } from 'vitest';
import { AddressSet, canonicalAddress, formatParsed, parseAddress, takeAddress } from '../../src/http/address.ts';

const cases: readonly (readonly [text: string, canonical: string])[] = [
  ['203.0.113.9', '203.0.113.9'],
  ['0.0.0.0', '0.0.0.0'],
  ['255.255.255.255', '255.255.255.255'],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['2001:DB8::1', '2001:db8::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
  ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ['1:0:3:4:5:6:7:8', '1:0:3:4:5:6:7:8'],
  ['::ffff:203.0.113.9', '203.0.113.9'],
  ['::FFFF:cb00:7109', '203.0.113.9'],
  ['64:ff9b::203.0.113.9', '64:ff9b::cb00:7109'],
  ['fe80::1', 'fe80::1'],
  ['0:0:0:0:0:0:0:0', '::'],
];
for (const [text, canonical] of cases) {
  test(`address ${text} is spelled ${canonical}`, () => assert.equal(canonicalAddress(text), canonical));
}

const garbage = [
  '',
  ' ',
  '1',
  '1.2.3',
  '1.2.3.4.5',
  '1.2.3.256',
  '1.2.3.04',
  '01.2.3.4',
  '1.2.3.',
  '.1.2.3',
  '1..2.3',
  '1.2.3.4 ',
  '0x1.2.3.4',
  ':',
  ':::',
  '1:2',
  '1::2::3',
  '12345::',
  'g::',
  '::1%eth0',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:',
  ':1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8::',
  '::1.2.3',
  '::1.2.3.4.5',
  '1:2:3:4:5:6:7:1.2.3.4',
  '[::1]',
  'unknown',
  '_hidden',
  '<script>',
  '1.2.3.4:80',
  '::ffff:1.2.3.4:5',
  '1.2.3.4\0',
  '٣.1.1.1',
]; // prettier-ignore
test('what is no address has no spelling', () => {
  for (const text of garbage) assert.equal(canonicalAddress(text), '', JSON.stringify(text));
});

test('parser and formatter agree with node:net and ipaddr.js on random addresses and random damage', () => {
  const alphabet = '0123456789abcdefABCDEF:.:.%g';
  for (let round = 0; round < 20_000; round++) {
    const bytes = randomBytes(round % 2 ? 4 : 16);
    if (round % 5 === 0) bytes.fill(0, randomInt(bytes.length));
    const length = takeAddress(bytes);
    const spelled = formatParsed(length);
    const oracle = ipaddr.process(ipaddr.fromByteArray([...bytes]).toString()).toString();
    assert.equal(ipaddr.process(spelled).toString(), oracle);
    assert.equal(canonicalAddress(spelled), spelled);
    const damaged = [...spelled];
    damaged.splice(randomInt(damaged.length + 1), randomInt(2), alphabet[randomInt(alphabet.length)]!);
    const text = damaged.join('');
    // node:net takes zones; nobody outside of this host can mean anything by one.
    const valid = isIP(text) !== 0 && !text.includes('%');
    assert.equal(parseAddress(text) !== 0, valid, text);
    if (valid) assert.equal(ipaddr.process(canonicalAddress(text)).toString(), ipaddr.process(text).toString());
  }
});

test('a set of ranges answers as net.BlockList does', () => {
  const entries = [
    '10.0.0.0/8',
    '10.1.0.0/16',
    '192.168.1.7',
    '0.0.0.0/32',
    '2001:db8::/32',
    'fd00::/8',
    '::1',
    '172.16.0.0/12',
    '11.0.0.0/8',
  ];
  const set = new AddressSet(entries);
  const oracle = new BlockList();
  for (const entry of entries) {
    const [address, bits] = entry.split('/');
    const family = address!.includes(':') ? 'ipv6' : 'ipv4';
    oracle.addSubnet(address!, Number(bits ?? (family === 'ipv6' ? 128 : 32)), family);
  }
  const near = [
    '9.255.255.255',
    '10.0.0.0',
    '11.255.255.255',
    '12.0.0.0',
    '192.168.1.6',
    '192.168.1.8',
    '172.31.255.255',
    '172.32.0.0',
  ];
  const random = Array.from({ length: 5000 }, (_, i) => formatParsed(takeAddress(randomBytes(i % 2 ? 4 : 16))));
  for (const text of [...near, ...random, '2001:db8:ffff::1', '2001:db9::', 'fe80::1', '::1', '::2']) {
    assert.equal(set.has(text), oracle.check(text, text.includes(':') ? 'ipv6' : 'ipv4'), text);
  }
  assert.equal(set.has('::ffff:10.9.9.9'), true, 'an IPv4 range holds the same address inside IPv6');
  assert.equal(new AddressSet(['::ffff:10.0.0.0/104']).has('10.9.9.9'), true);
  assert.equal(new AddressSet(['0.0.0.0/0']).has('1.2.3.4'), true);
  assert.equal(new AddressSet(['0.0.0.0/0']).has('::2'), false);
});

test('a set refuses what is no range, by its name', () => {
  for (const entry of [
    '',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0/8',
    '::/129',
    'example.com',
    '::ffff:1.2.3.4/90',
  ]) {
    assert.throws(() => new AddressSet([entry]), { name: 'RangeError', message: entry });
  }
});
