/**
 * Client address: whose address a request has, by TRUST_PROXY.
 *
 *   false      the socket's (or, with PROXY_PROTOCOL, what the load balancer said)
 *   true       the first entry of the header; the socket's when there is none
 *   a number   so many proxies stand in front, the socket being the nearest: the entry at that place, counted from the
 *              right
 *   a list     from the right, the first address that is not in the list; the socket's unless the socket is in the list
 *
 * An entry that is no address ends the walk: the client's address is the last one that a trusted party vouched for. So
 * garbage is never stored, and no entry left of it is believed. Asking the socket costs a system call and an
 * ArrayBuffer, as much as all our parsing of a pixel request: the reader asks only when the header did not give the
 * address, or when trust depends on the socket.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { AddressSet, canonicalAddress, formatParsed, parseAddress, takeAddress } from './address.ts';
import { wireText } from './wire-text.ts';

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

/** Compiles the policy into one function. */
export function addressReader(policy: AddressPolicy): AddressReader {
  const trust = parseTrust(policy.trustProxy);
  const header = policy.clientIpHeader.toLowerCase();
  const name = wireText(header);
  const socket = policy.proxyProtocol ? proxiedAddress : socketAddress;
  switch (trust.kind) {
    case 'socket':
      return socket;
    case 'first':
      return (res, req) => firstEntry(req.getHeader(name)) || socket(res);
    case 'hops': {
      const lines = linesOf(header);
      return (res, req) => entryByHops(lines(req), trust.hops) || socket(res);
    }
    case 'set': {
      const lines = linesOf(header);
      return (res, req) => {
        const near = socket(res);
        if (near === '' || !trust.set.has(near)) return near;
        return rightmostUntrusted(lines(req), trust.set) || near;
      };
    }
  }
}

/**
 * All lines of a header as one list. Some proxies (HAProxy's `option forwardfor`) add a line of their own behind the
 * client's, and the addon's getHeader gives the first line, which the client may have made up. Costs a microsecond,
 * because every header crosses over from the addon.
 */
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

function socketAddress(res: HttpResponse): string {
  return formatParsed(takeAddress(new Uint8Array(res.getRemoteAddress())));
}

function proxiedAddress(res: HttpResponse): string {
  // Empty when the connection did not begin with a PROXY header; then the socket's own address is all there is.
  return formatParsed(takeAddress(new Uint8Array(res.getProxiedRemoteAddress()))) || socketAddress(res);
}

/**
 * The address in the entry text[from, to), '' when there is none. `1.2.3.4:5678` and `[::1]:5678` are read without
 * their port.
 */
function entryAddress(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && (text.charCodeAt(start) === 32 || text.charCodeAt(start) === 9)) start += 1;
  while (end > start && (text.charCodeAt(end - 1) === 32 || text.charCodeAt(end - 1) === 9)) end -= 1;
  const address = canonicalAddress(text, start, end);
  if (address !== '' || start === end) return address;
  if (text.charCodeAt(start) === 91) {
    const close = text.indexOf(']', start);
    if (close < 0 || close >= end || !/^(:\d{1,5})?$/.test(text.slice(close + 1, end))) return '';
    const inside = text.slice(start + 1, close);
    return inside.includes(':') ? canonicalAddress(inside) : '';
  }
  const colon = text.lastIndexOf(':', end - 1);
  if (colon <= start || !/^:\d{1,5}$/.test(text.slice(colon, end))) return '';
  return parseAddress(text, start, colon) === 4 ? canonicalAddress(text, start, colon) : '';
}

function firstEntry(text: string): string {
  if (text === '') return '';
  const comma = text.indexOf(',');
  return entryAddress(text, 0, comma < 0 ? text.length : comma);
}

/**
 * hops = 1: the right-most entry. With fewer entries than hops: the left-most. An entry that is no address ends the
 * walk.
 */
function entryByHops(text: string, hops: number): string {
  let found = '';
  let end = text.length;
  for (let hop = 0; hop < hops && end >= 0 && text !== ''; hop++) {
    const comma = end === 0 ? -1 : text.lastIndexOf(',', end - 1);
    const address = entryAddress(text, comma + 1, end);
    if (address === '') break;
    found = address;
    end = comma;
  }
  return found;
}

function rightmostUntrusted(text: string, trusted: AddressSet): string {
  let found = '';
  let end = text.length;
  for (let entry = 0; entry < ENTRIES_MAX && end >= 0 && text !== ''; entry++) {
    const comma = end === 0 ? -1 : text.lastIndexOf(',', end - 1);
    const address = entryAddress(text, comma + 1, end);
    if (address === '') break;
    found = address;
    if (!trusted.has(address)) break;
    end = comma;
  }
  return found;
}
