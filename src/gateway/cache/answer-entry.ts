/** Answers by a whole cached body: ETag and If-None-Match, Range and If-Range (RFC 9110, sections 13 and 14). */
import type { HttpRequest } from 'uWebSockets.js';
import { wireText } from '../../http/wire-text.ts';
import type { Exchange, Headers } from '../front/exchange.ts';
import type { CacheState, Entry } from './entry.ts';
import { SLOW_BYTES_MIN, type SlowBodies } from './slow-bodies.ts';

const IF_NONE_MATCH = wireText('if-none-match');
const RANGE = wireText('range');
const IF_RANGE = wireText('if-range');

/** Conditions of a request; undefined: it has none. */
export interface Conditions {
  readonly ifNoneMatch: string;
  readonly range: string;
  readonly ifRange: string;
}

export function conditionsOf(req: HttpRequest): Conditions | undefined {
  const [ifNoneMatch, range] = [req.getHeader(IF_NONE_MATCH), req.getHeader(RANGE)];
  return ifNoneMatch === '' && range === '' ? undefined : { ifNoneMatch, range, ifRange: req.getHeader(IF_RANGE) };
}

export function answerEntry(
  exchange: Exchange,
  entry: Entry,
  state: CacheState,
  nowMs: number,
  conditions: Conditions | undefined,
  slow: SlowBodies,
): void {
  const { bytes } = entry;
  if (conditions === undefined) {
    send(exchange, 200, entry.lines(state, nowMs), entry, 0, bytes, slow);
    return;
  }
  const headers = entry.headers(state, nowMs);
  const { etag } = entry.meta;
  const { ifNoneMatch, ifRange } = conditions;
  if (ifNoneMatch !== '' && matches(ifNoneMatch, etag)) {
    const kept = headers.filter(([name]) => !name.startsWith('Content-'));
    exchange.answer(304, kept);
    return;
  }
  // Range is for GET alone (RFC 9110, 14.2).
  const ranged = exchange.method === 'GET' && (ifRange === '' || ifRange === etag);
  const range = ranged ? rangeOf(conditions.range, bytes) : undefined;
  if (range === undefined) send(exchange, 200, headers, entry, 0, bytes, slow);
  else if (range === 'none')
    exchange.answer(416, [
      ['Content-Range', `bytes */${bytes}`],
      ['ETag', etag],
      ['X-Cache', state],
    ]);
  else {
    const [from, to] = range;
    const content = ['Content-Range', `bytes ${from}-${to}/${bytes}`] as const;
    send(exchange, 206, [...headers, content], entry, from, to + 1, slow);
  }
}

/** The bytes of the entry before `to`. */
function send(
  exchange: Exchange,
  status: number,
  headers: Headers | string,
  entry: Entry,
  from: number,
  to: number,
  slow: SlowBodies,
): void {
  const { body, large } = entry;
  if (large !== undefined) exchange.send(status, headers, to - from, () => large.reader(from, to));
  else {
    const part = to - from === body.length ? body : body.subarray(from, to);
    // A part of a body holds all of it.
    const keep = body.length > SLOW_BYTES_MIN ? () => slow.keep(entry, from, to) : undefined;
    exchange.answer(status, headers, part, keep);
  }
}

/** Weak comparison, as If-None-Match has it. */
const matches = (given: string, etag: string): boolean =>
  given.trim() === '*' || given.split(',').some((one) => one.trim().replace(/^W\//, '') === etag);

/** First and last byte; `none`: there are no such bytes; undefined: the whole (several ranges are answered so). */
export function rangeOf(header: string, length: number): readonly [from: number, to: number] | 'none' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header.trim()) ?? [];
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const bytes = Math.min(Number(last), length);
    return bytes === 0 ? 'none' : [length - bytes, length - 1];
  }
  const from = Number(first);
  const to = last === '' ? length - 1 : Math.min(Number(last), length - 1);
  if (last !== '' && Number(last) < from) return undefined;
  return from >= length ? 'none' : [from, to];
}
