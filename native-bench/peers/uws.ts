/**
 * Peer: bare uWebSockets.js. Reads what a pixel collector must read (query, four headers), answers, writes nothing: the floor.
 * Options, for the question what the crossings between JavaScript and the addon cost:
 *   READS=n        look up n headers instead of 4 (absent ones included, as a collector does for DNT, Origin, framing)
 *   HEADERS=five   five response headers one by one; joined: the same five in one call; default: two
 *   DEFER=1        answer from setImmediate (abort handler, closure, cork) instead of in the handler
 *   ADDRESS=1      ask the socket for the peer's address
 *   TEXTS=bytes    constant texts (names, values) as ArrayBuffers instead of strings
 */
import uws, { type HttpResponse, type RecognizedString } from 'uWebSockets.js';

const gif = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');
const { PORT, TLS_CERT, TLS_KEY, READS = '4', HEADERS = 'two', DEFER, ADDRESS, TEXTS } = process.env;
const text = (chars: string): RecognizedString => (TEXTS === 'bytes' ? new TextEncoder().encode(chars).buffer : chars);
const app = TLS_CERT && TLS_KEY ? uws.SSLApp({ cert_file_name: TLS_CERT, key_file_name: TLS_KEY }) : uws.App();
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
];
const reads = names.slice(0, Number(READS)).map(text);
const noStore = 'no-store, no-cache, must-revalidate, max-age=0';
const contentType = text('Content-Type');
const joined = text(
  `image/gif\r\nCache-Control: ${noStore}\r\nPragma: no-cache\r\nExpires: 0\r\nRingmain-Ack: journal`,
);

const answers: Record<string, (res: HttpResponse) => void> = {
  two: (res) => {
    res.writeHeader('Content-Type', 'image/gif');
    res.writeHeader('Cache-Control', noStore);
  },
  five: (res) => {
    res.writeHeader('Content-Type', 'image/gif');
    res.writeHeader('Cache-Control', noStore);
    res.writeHeader('Pragma', 'no-cache');
    res.writeHeader('Expires', '0');
    res.writeHeader('Ringmain-Ack', 'journal');
  },
  joined: (res) => {
    res.writeHeader(contentType, joined);
  },
};
const writeHeaders = answers[HEADERS]!;

let waiting: HttpResponse[] = [];
function answerAll(): void {
  const now = waiting;
  waiting = [];
  for (const res of now) {
    res.cork(() => {
      writeHeaders(res);
      res.end(gif);
    });
  }
}

let bytesRead = 0; // kept, so that no read can be optimised away
app.get('/px.gif', (res, req) => {
  bytesRead += (req.getQuery() ?? '').length;
  for (const name of reads) bytesRead += req.getHeader(name).length;
  if (ADDRESS) bytesRead += res.getRemoteAddress().byteLength;
  if (DEFER) {
    if (waiting.length === 0) setImmediate(answerAll);
    res.onAborted(() => {});
    waiting.push(res);
    return;
  }
  writeHeaders(res);
  res.end(gif);
});
app.post('/collect', (res) => {
  res.onAborted(() => {});
  res.onData((chunk, isLast) => {
    bytesRead += chunk.byteLength;
    if (isLast) res.writeStatus('202 Accepted').end('{"accepted":0,"status":"ok"}');
  });
});
app.listen('127.0.0.1', Number(PORT), (socket) => {
  if (!socket) process.exit(1);
});
process.on('SIGTERM', () => {
  console.log(`bytes read: ${bytesRead}`);
  process.exit(0);
});
