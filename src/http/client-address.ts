/**
 * Client address: whose address a request has, by TRUST_PROXY.
 *
 *   false      the socket's (or, with PROXY_PROTOCOL, what the load balancer said)
 *   true       the first entry of the header; the socket's when there is none
 *   a number   so many proxies stand in front, the socket being the nearest: the entry at that place, counted from the
 *              right
 *   a list     from the right, the first address that is not in the list; the socket's unless the socket is in the list
 *
 * An entry that is no address (`unknown`, the `_hidden` of RFC 7239, garbage) ends the walk: the client's address is
 * the last one that a trusted party vouched for. So garbage is never stored, and no entry left of it is believed.
 *
 * What it costs. Asking the socket is a system call and an ArrayBuffer, as much as all our parsing of a pixel request:
 * the reader asks only when the header did not give the address, or when trust depends on the socket. A number and a
 * list must see every line of the header, because some proxies (HAProxy's `option forwardfor`) add a line of their own
 * behind the client's. The addon has two ways to read headers: getHeader gives the first line of a name (0.05 us), and
 * forEach hands over all headers, two strings and a call each (0.1 us; 1.8 us for the 17 headers of a browser behind a
 * proxy). Nothing cheaper tells that a second line exists: no count, no iterator that stops, and what one request of a
 * proxy looked like says nothing of the next one, whose client may have sent a line. So only headers that a CDN sets
 * itself, in place of whatever the client sent, are read by getHeader.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { AddressSet, canonicalAddress, formatParsed, takeAddress } from './address.ts';
import { elementStart, firstElementEnd, parameterOf } from './forwarded.ts';
import { asked, wireText } from './wire-text.ts';

export interface AddressPolicy {
  /** TRUST_PROXY. */
  readonly trustProxy: string;
  /** CLIENT_IP_HEADER. */
  readonly clientIpHeader: string;
  /** PROXY_PROTOCOL. */
  readonly proxyProtocol: boolean;
}

/** The client's address in its one spelling; '' when even the socket has none. Call inside the handler only. */
export type AddressReader = (res: HttpResponse, req: HttpRequest) => string;

type Trust = { readonly kind: 'socket' | 'first' } | { readonly kind: 'hops'; readonly hops: number } | TrustedSet;
interface TrustedSet {
  readonly kind: 'set';
  readonly set: AddressSet;
}

const HOPS_MAX = 32;
/** Entries beyond these are not read: a header may have 32 KiB, a real chain has a handful of entries. */
const ENTRIES_MAX = 64;

function parseTrust(text: string): Trust {
  const word = text.trim().toLowerCase();
  if (word === 'false' || word === 'no' || word === 'off' || word === '0') return { kind: 'socket' };
  if (word === 'true' || word === 'yes' || word === 'on') return { kind: 'first' };
  if (/^\d+$/.test(word)) {
    const hops = Number(word);
    if (hops > HOPS_MAX) throw new RangeError(word);
    return { kind: 'hops', hops };
  }
  return { kind: 'set', set: new AddressSet(word.split(',').map((entry) => entry.trim())) };
}

/** What is wrong with a TRUST_PROXY text; undefined: nothing. */
export function trustProblem(text: string): string | undefined {
  try {
    parseTrust(text);
    return undefined;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return `must hold addresses and CIDR ranges: found=${error.message}`;
  }
}

/** Whether a TRUST_PROXY text, which is a valid one, means that no header is believed. */
export function trustsNobody(text: string): boolean {
  return parseTrust(text).kind === 'socket';
}

/**
 * Whether a policy, whose TRUST_PROXY is a valid one, believes an address that the client itself may have written: the
 * first entry of a header that proxies append to.
 */
export function believesClients({
  trustProxy,
  clientIpHeader,
}: Pick<AddressPolicy, 'trustProxy' | 'clientIpHeader'>): boolean {
  return parseTrust(trustProxy).kind === 'first' && !SET_BY_CDN.has(clientIpHeader.toLowerCase());
}

/** Compiles the policy into one function. */
export function addressReader(policy: AddressPolicy): AddressReader {
  const trust = parseTrust(policy.trustProxy);
  const header = policy.clientIpHeader.toLowerCase();
  const name = wireText(header);
  const grammar = grammarOf(header);
  const take = policy.proxyProtocol ? takeProxied : takeSocket;
  const socket = (res: HttpResponse) => formatParsed(take(res));
  const lines = SET_BY_CDN.has(header) ? (req: HttpRequest) => req.getHeader(name) : linesOf(header);
  switch (trust.kind) {
    case 'socket':
      return socket;
    case 'first':
      return (res, req) => firstEntry(req.getHeader(name), grammar) || socket(res);
    case 'hops':
      return (res, req) => entryByHops(lines(req), grammar, trust.hops) || socket(res);
    case 'set':
      return (res, req) => {
        const near = take(res);
        if (!trust.set.hasParsed(near)) return formatParsed(near);
        return rightmostUntrusted(lines(req), grammar, trust.set) || socket(res);
      };
  }
}

/**
 * Compiles the policy into a reader of what the client spoke to the first proxy, in lower case: `https`, `http`; ''
 * when no trusted proxy says it. Of a list (`https,http`) the first entry is the client's. For cookies alone: who lies
 * here harms the own cookie.
 */
export function schemeReader(policy: AddressPolicy): (req: HttpRequest) => string {
  if (trustsNobody(policy.trustProxy)) return () => '';
  const forwarded = policy.clientIpHeader.toLowerCase() === 'forwarded';
  return (req) => {
    const given = req.getHeader(asked.forwardedProto);
    if (given === '' && forwarded) return schemeOf(req.getHeader('forwarded'));
    const comma = given.indexOf(',');
    return (comma < 0 ? given : given.slice(0, comma)).trim().toLowerCase();
  };
}

const schemeOf = (text: string): string => parameterOf(text.slice(0, firstElementEnd(text)), 'proto').toLowerCase();

/** Headers that a CDN sets in place of what the client sent: there is one line, if any. */
const SET_BY_CDN: ReadonlySet<string> = new Set([
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'cloudfront-viewer-address',
  'do-connecting-ip',
  'fastly-client-ip',
  'fly-client-ip',
  'true-client-ip',
  'x-azure-clientip',
]);

/** All lines of a header as one list. */
function linesOf(header: string): (req: HttpRequest) => string {
  let lines = '';
  const note = (key: string, value: string) => {
    if (key === header) lines = lines === '' ? value : `${lines},${value}`;
  };
  return (req) => {
    lines = '';
    req.forEach(note);
    return lines;
  };
}

/** Takes the address of the socket into `parsed`; returns its length (address.ts). */
function takeSocket(res: HttpResponse): number {
  return takeAddress(new Uint8Array(res.getRemoteAddress()));
}

function takeProxied(res: HttpResponse): number {
  // Empty when the connection did not begin with a PROXY header; then the socket's own address is all there is.
  return takeAddress(new Uint8Array(res.getProxiedRemoteAddress())) || takeSocket(res);
}

/** How entries stand in a header. */
interface Grammar {
  /** Where the first entry ends. */
  firstEnd(text: string): number;
  /** Where the entry that ends at `end` begins. */
  start(text: string, end: number): number;
  /** The address of the entry text[from, to), '' when there is none. */
  address(text: string, from: number, to: number): string;
}

const list: Grammar = {
  firstEnd(text) {
    const comma = text.indexOf(',');
    return comma < 0 ? text.length : comma;
  },
  start: (text, end) => (end === 0 ? 0 : text.lastIndexOf(',', end - 1) + 1),
  address: entryAddress,
};

const forwarded: Grammar = {
  firstEnd: firstElementEnd,
  start: elementStart,
  address(text, from, to) {
    // A port may be hidden like a name: `192.0.2.43:_gazonk`.
    const node = parameterOf(text.slice(from, to), 'for').replace(/:_[\w.-]+$/, '');
    return entryAddress(node, 0, node.length);
  },
};

const withPort: Grammar = { ...list, address: portedAddress };

function grammarOf(header: string): Grammar {
  if (header === 'forwarded') return forwarded;
  return header === 'cloudfront-viewer-address' ? withPort : list;
}

const isBlank = (c: number): boolean => c === 32 || c === 9;

/** The address in the entry text[from, to), '' when there is none. Brackets, a port and a zone are left out. */
function entryAddress(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  const address = canonicalAddress(text, start, end);
  if (address !== '' || start === end) return address;
  return dressedAddress(text.slice(start, end));
}

/** `[v6]`, `[v6%zone]`, each with or without a port; `v6%zone`. */
const BRACKETED = /^\[([0-9a-f:.]+)(?:%[\w.~%-]+)?\](?::(\d{1,5}))?$/i;
const ZONED = /^([0-9a-f:.]+)%[\w.~-]+(?::(\d{1,5}))?$/i;
const PORTED = /^([0-9a-f:.]+):(\d{1,5})$/i;
const PORT_MAX = 65_535;

/** The address of an entry that is not an address alone. */
function dressedAddress(entry: string): string {
  const bare = BRACKETED.exec(entry) ?? ZONED.exec(entry);
  const [, address = '', port = '0'] = bare ?? PORTED.exec(entry) ?? [];
  if (Number(port) > PORT_MAX || (bare !== null && !address.includes(':'))) return '';
  // Without brackets an IPv6 address with a port is told by its ninth group or by a port of five digits; anything
  // shorter reads as an address and does not come here.
  return canonicalAddress(address);
}

/** CloudFront's spelling: always a port, never brackets. `2600:300:f:abcd::9:9985` is `2600:300:f:abcd::9`. */
function portedAddress(text: string, from: number, to: number): string {
  const entry = text.slice(from, to).trim();
  const [, address = '', port = ''] = PORTED.exec(entry) ?? [];
  return (Number(port) <= PORT_MAX && canonicalAddress(address)) || entryAddress(entry, 0, entry.length);
}

function firstEntry(text: string, grammar: Grammar): string {
  return text === '' ? '' : grammar.address(text, 0, grammar.firstEnd(text));
}

/**
 * hops = 1: the right-most entry. With fewer entries than hops: the left-most. An entry that is no address ends the
 * walk.
 */
function entryByHops(text: string, grammar: Grammar, hops: number): string {
  let found = '';
  let end = text.length;
  for (let hop = 0; hop < hops && end >= 0 && text !== ''; hop++) {
    const start = grammar.start(text, end);
    const address = grammar.address(text, start, end);
    if (address === '') break;
    found = address;
    end = start - 1;
  }
  return found;
}

function rightmostUntrusted(text: string, grammar: Grammar, trusted: AddressSet): string {
  let found = '';
  let end = text.length;
  for (let entry = 0; entry < ENTRIES_MAX && end >= 0 && text !== ''; entry++) {
    const start = grammar.start(text, end);
    const address = grammar.address(text, start, end);
    if (address === '') break;
    found = address;
    if (!trusted.has(address)) break;
    end = start - 1;
  }
  return found;
}
