/** Requests that exercise the intake routes before the port opens: one batch for a burst of pixels. */
const event = '{"e":"rehearsal","uid":"u1","url":"https://example.com/a?b=1","props":{"n":1,"text":"a\\"b"}}';
const body = `[${Array.from({ length: 20 }, () => event).join(',')}]`;
const browser = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
const target =
  '/px.gif?e=rehearsal&url=https%3A%2F%2Fexample.com%2Fa%3Fb%3D1&utm_source=a&utm_medium=b&uid=u1&w=1920' +
  '&q=caf%C3%A9+%22x%22';
const pixel = [
  `GET ${target} HTTP/1.1`,
  'Host: localhost',
  `User-Agent: ${browser}`,
  'Referer: https://example.com/',
  'X-Forwarded-For: 192.0.2.1',
  'Cookie: a=1; sid=s_0',
  '\r\n',
].join('\r\n');
const batch = [
  'POST /collect HTTP/1.1',
  'Host: localhost',
  `User-Agent: ${browser}`,
  'Content-Type: application/json',
  `Content-Length: ${body.length}`,
  `\r\n${body}`,
].join('\r\n');
const PIXELS = 31;

export const collectRehearsal: readonly string[] = [...Array.from({ length: PIXELS }, () => pixel), batch];
