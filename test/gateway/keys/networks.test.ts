/** Networks against ipaddr.js: their one spelling, and which addresses are in them. */
import ipaddr from 'ipaddr.js';
import { expect, test } from 'vitest';
import { mayComeFrom } from '../../../src/gateway/keys/networks.ts';
import { canonicalAddress, canonicalNetwork } from '../../../src/http/address.ts';
import { key, user } from './known.ts';

let seed = 17;
/** Numerical Recipes' linear congruential generator: the same networks in each run. */
const random = (below: number): number => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((seed / 2 ** 32) * below);
};
const bytesOf = (length: 4 | 16): number[] =>
  // Few values, so that networks and addresses meet.
  Array.from({ length }, () => [0, 1, 10, 127, 128, 254, 255][random(7)]!);
const textOf = (bytes: readonly number[]): string => canonicalAddress(ipaddr.fromByteArray([...bytes]).toString());

/** The address after these, or before; the last one and the first one stay. */
function next(bytes: readonly number[], by: 1 | -1): number[] {
  const found = [...bytes];
  for (let at = found.length - 1; at >= 0; at -= 1) {
    found[at] = (found[at]! + by + 256) % 256;
    if (found[at] !== (by === 1 ? 0 : 255)) return found;
  }
  return [...bytes];
}

function network(length: 4 | 16) {
  const bits = random(length * 8 + 1);
  const first = bytesOf(length).map((byte, at) => byte & ~(0xff >> Math.min(8, Math.max(0, bits - at * 8))));
  const last = first.map((byte, at) => byte | (0xff >> Math.min(8, Math.max(0, bits - at * 8))));
  return { text: `${textOf(first)}/${bits}`, first, last };
}

test('the networks of a list hold the addresses that ipaddr.js says, at their edges and elsewhere', () => {
  for (let round = 0; round < 100; round += 1) {
    const nets = Array.from({ length: 1 + random(30) }, () => network(random(2) === 0 ? 4 : 16));
    const bound = { ...user, networks: nets.map(({ text }) => text) };
    const cidrs = nets.map(({ text }) => ipaddr.parseCIDR(text));
    const near = nets.flatMap(({ first, last }) => [first, last, next(first, -1), next(last, 1)]);
    const addresses = [...near, ...Array.from({ length: 50 }, () => bytesOf(random(2) === 0 ? 4 : 16))].map(textOf);
    for (const text of addresses) {
      const address = ipaddr.parse(text);
      const held = cidrs.some((cidr) => address.kind() === cidr[0].kind() && address.match(cidr));
      expect([bound.networks, text, mayComeFrom(bound, key, text)]).toEqual([bound.networks, text, held]);
    }
  }
});

test('a network has one spelling, and what has bits behind its prefix is refused with what is meant', () => {
  for (let round = 0; round < 2000; round += 1) {
    const { text, first, last } = network(random(2) === 0 ? 4 : 16);
    expect(canonicalNetwork(text)).toBe(text);
    if (first.join() !== last.join())
      expect(() => canonicalNetwork(text.replace(/^[^/]+/, textOf(last)))).toThrow(`like ${text}: found=`);
  }
  expect(canonicalNetwork('2001:DB8:0:0::/32')).toBe('2001:db8::/32');
  expect(canonicalNetwork('::ffff:10.0.0.0/104')).toBe('10.0.0.0/8');
  expect(canonicalNetwork('192.0.2.7')).toBe('192.0.2.7/32');
  expect(canonicalNetwork('::/0')).toBe('::/0');
  for (const bad of [
    '',
    '10.0.0.0/33',
    '10.0.0/8',
    '::/129',
    '::ffff:10.0.0.0/90',
    '10.0.0.0/8/8',
    '10.0.0.0/',
    'a/8',
    '010.0.0.0/8',
  ])
    expect(() => canonicalNetwork(bad)).toThrow(/must be CIDR like/);
});
