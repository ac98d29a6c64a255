/**
 * An operator for benchmarks: takes every message after a while and remembers when, by message. One process.
 * node sms-operator.ts <port> <ms before the answer>
 *
 *   POST /messages     takes a message
 *   GET  /seen         how many were taken
 *   GET  /taken        [message id, customer, ms since 1970 of the answer] of each, in order; then forgets them
 */
import { App, type HttpRequest, type HttpResponse } from 'uWebSockets.js';

const [port = '0', delayMs = '0'] = process.argv.slice(2);
let taken: (readonly [string, string, number])[] = [];

interface Sent {
  readonly message_id: string;
  /** The customer: the rig writes it there. */
  readonly from: string;
}

function take(response: HttpResponse): void {
  let gone = false;
  response.onAborted(() => {
    gone = true;
  });
  const parts: Buffer[] = [];
  response.onData((part, last) => {
    parts.push(Buffer.from(Buffer.from(part)));
    if (!last) return;
    const { message_id, from } = JSON.parse(Buffer.concat(parts).toString()) as Sent;
    setTimeout(() => {
      taken.push([message_id, from, Date.now()]);
      if (!gone) response.cork(() => response.end(`{"id":"op-${message_id}"}`));
    }, Number(delayMs));
  });
}

App()
  .post('/messages', (response: HttpResponse) => take(response))
  .get('/seen', (response: HttpResponse, _request: HttpRequest) => void response.end(String(taken.length)))
  .get('/taken', (response: HttpResponse) => {
    response.end(JSON.stringify(taken));
    taken = [];
  })
  .listen('127.0.0.1', Number(port), (socket) => {
    if (socket === false) process.exit(1);
    process.stdout.write('ready\n');
  });
