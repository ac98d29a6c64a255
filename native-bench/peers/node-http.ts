/** Peer: a pixel logger on node:http as one writes it in an afternoon: parse, stringify, buffer 64 KiB, append. */
import { randomUUID } from 'node:crypto';
import { openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';

const gif = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');
const file = openSync(process.env['LOG_PATH']!, 'a');
const known = new Set(['e', 'uid', 'url', 'ref']);
let lines: string[] = [];
let length = 0;

function flush(): void {
  if (lines.length > 0) writeSync(file, lines.join(''));
  lines = [];
  length = 0;
}

const server = createServer((req, res) => {
  const query = new URLSearchParams(req.url!.slice(req.url!.indexOf('?') + 1));
  const utm: Record<string, string> = {};
  const props: Record<string, string> = {};
  for (const [key, value] of query) {
    if (key.startsWith('utm_')) utm[key.slice(4)] = value;
    else if (!known.has(key)) props[key] = value;
  }
  const line = `${JSON.stringify({
    event_id: randomUUID(),
    ts: new Date().toISOString(),
    e: query.get('e') ?? 'pageview',
    uid: query.get('uid') ?? undefined,
    sid: /(?:^|; )sid=([^;]+)/.exec(req.headers.cookie ?? '')?.[1],
    url: query.get('url') ?? req.headers.referer,
    ref: query.get('ref') ?? undefined,
    ua: req.headers['user-agent'],
    ip: String(req.headers['x-forwarded-for'] ?? req.socket.remoteAddress).split(',', 1)[0],
    utm,
    geo: {},
    props,
  })}\n`;
  lines.push(line);
  length += line.length;
  if (length >= 65_536) flush();
  res.writeHead(200, {
    'Content-Type': 'image/gif',
    'Content-Length': gif.length,
    'Cache-Control': 'no-store, no-cache, must-revalidate, max-age=0',
  });
  res.end(gif);
});
server.listen(Number(process.env['PORT']), '127.0.0.1');
setInterval(flush, 100);
process.on('SIGTERM', () => {
  flush();
  process.exit(0);
});
