/**
 * Public addresses: where a customer may have callbacks sent. Everything that is not global unicast by the registries
 * of IANA (RFC 6890 and its successors) is refused: private networks, loopback, link-local (with the metadata services
 * of clouds), shared, documentation, multicast, and the ranges of IPv6 that carry an IPv4 address inside.
 */
import { AddressSet, parseAddress } from '../../http/address.ts';

const notPublic = new AddressSet([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
  // Of IPv6 only 2000::/3 is global unicast.
  '::/3',
  '4000::/2',
  '8000::/1',
  '2001::/23', // Teredo, ORCHID and other protocols
  '2001:db8::/32',
  '2002::/16', // 6to4
  '3fff::/20',
]);

/** False also for what is no address. An IPv4 address inside IPv6 (::ffff:a.b.c.d) is judged as IPv4. */
export function isPublicAddress(text: string): boolean {
  const length = parseAddress(text);
  return length > 0 && !notPublic.hasParsed(length);
}
