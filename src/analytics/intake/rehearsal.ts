/** Requests that exercise POST /events before the port opens: single events, as most clients send them, and a batch. */
const event =
  '{"site_id":"rehearsal","event_type":"page_view","path":"/a","timestamp":"2026-01-01T00:00:00Z","user_id":"u1",' +
  '"url":"https://example.com/a?utm_source=b&c=1","title":"a \\"b\\"","props":{"n":1,"text":"a\\"b"}}';
const visit = '{"site_id":"rehearsal","event_type":"page_view","url":"https://example.com/a","props":{"n":1}}';
const browser = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';

const request = (body: string): string =>
  [
    'POST /events HTTP/1.1',
    'Host: localhost',
    `User-Agent: ${browser}`,
    'X-Forwarded-For: 192.0.2.1',
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    `\r\n${body}`,
  ].join('\r\n');
const batch = `[${Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? event : visit)).join(',')}]`;
const SINGLES = 15;

export const eventsRehearsal: readonly string[] = [
  ...Array.from({ length: SINGLES }, () => request(event)),
  ...Array.from({ length: SINGLES }, () => request(visit)),
  request(batch),
];
