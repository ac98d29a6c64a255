/** Request text: what a backend is asked, as it goes on the wire. GET and HEAD alone, so there is no body to frame. */
import { fitsName, fitsValue } from './answer-head.ts';
import { isSentOn, namesOf } from './hop-headers.ts';
import type { UpstreamRequest } from './upstream.ts';

/** A path or a header has bytes that it must not have: nothing is sent, and no backend is at fault. */
export class Unsendable extends Error {
  override readonly name = 'Unsendable';
}

const BAD_PATH = /[^\x21-\xff]/;

/** `host`: of the backend. Latin1. Throws Unsendable. */
export function requestText({ method, path, headers, authorization }: UpstreamRequest, host: string): string {
  if (!path.startsWith('/') || BAD_PATH.test(path)) throw new Unsendable('a path must have no blanks and no controls');
  let text = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n`;
  let also: ReadonlySet<string> | undefined;
  for (const name in headers)
    if (name.length === 10 && name.toLowerCase() === 'connection') also = namesOf(headers[name]!);
  for (const name in headers) {
    const lower = name.toLowerCase();
    if (!isSentOn(lower) || also?.has(lower) === true) continue;
    const value = headers[name]!;
    if (!fitsName(lower) || !fitsValue(value)) throw new Unsendable(`a header must have no controls: name=${lower}`);
    text += `${lower}: ${value}\r\n`;
  }
  if (authorization !== undefined) {
    if (!fitsValue(authorization)) throw new Unsendable('a header must have no controls: name=authorization');
    text += `authorization: ${authorization}\r\n`;
  }
  return `${text}\r\n`;
}
