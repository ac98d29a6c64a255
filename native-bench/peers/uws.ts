/**
 * Peer: bare uWebSockets.js. Reads what a pixel collector must read (query, nine headers), answers with as many headers, gathered per
 * turn of the event loop, and writes nothing: what the platform costs before a line of ours runs. Of a body it only takes the bytes.
 */
import uws, { type HttpResponse } from 'uWebSockets.js';

const gif = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');
const bytes = (chars: string): ArrayBuffer => new TextEncoder().encode(chars).buffer;
const names = [
  'user-agent',
  'referer',
  'cookie',
  'x-forwarded-for',
  'origin',
  'dnt',
  'sec-gpc',
  'transfer-encoding',
  'content-length',
].map(bytes);
const contentType = bytes('Content-Type');
/** Five headers in one call. */
const headers = bytes(
  'image/gif\r\nCache-Control: no-store, no-cache, must-revalidate, max-age=0\r\nPragma: no-cache\r\nExpires: 0\r\nRingmain-Ack: none',
);

let waiting: HttpResponse[] = [];
function answerAll(): void {
  const now = waiting;
  waiting = [];
  for (const res of now) {
    res.cork(() => {
      res.writeHeader(contentType, headers);
      res.end(gif);
    });
  }
}

let bytesRead = 0; // kept, so that no read can be optimised away
const app = uws.App();
app.get('/px.gif', (res, req) => {
  bytesRead += (req.getQuery() ?? '').length;
  for (const name of names) bytesRead += req.getHeader(name).length;
  if (waiting.length === 0) setImmediate(answerAll);
  res.onAborted(() => {});
  waiting.push(res);
});
app.post('/collect', (res) => {
  res.onAborted(() => {});
  res.onData((chunk, isLast) => {
    bytesRead += chunk.byteLength;
    if (isLast) res.writeStatus('202 Accepted').end('{"accepted":0,"status":"ok"}');
  });
});
app.listen('127.0.0.1', Number(process.env['PORT']), (socket) => {
  if (!socket) process.exit(1);
});
process.on('SIGTERM', () => {
  console.log(`bytes read: ${bytesRead}`);
  process.exit(0);
});
