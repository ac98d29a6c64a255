/** Peer: bare uWebSockets.js. Reads what a pixel collector must read (query, four headers), answers, writes nothing. */
import uws from 'uWebSockets.js';

const gif = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');
const { PORT, TLS_CERT, TLS_KEY } = process.env;
const app = TLS_CERT && TLS_KEY ? uws.SSLApp({ cert_file_name: TLS_CERT, key_file_name: TLS_KEY }) : uws.App();

let bytesRead = 0; // kept, so that no read can be optimised away
app.get('/px.gif', (res, req) => {
  bytesRead +=
    req.getQuery().length +
    req.getHeader('user-agent').length +
    req.getHeader('referer').length +
    req.getHeader('cookie').length +
    req.getHeader('x-forwarded-for').length;
  res.writeHeader('Content-Type', 'image/gif');
  res.writeHeader('Cache-Control', 'no-store, no-cache, must-revalidate, max-age=0');
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
