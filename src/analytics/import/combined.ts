/**
 * Combined: a line of an access log in the combined format of Apache and nginx
 * (https://httpd.apache.org/docs/2.4/logs.html#combined), or in the common format without its last two fields. Fields that
 * a server adds behind those of the combined format are passed over; a line that is cut within them is none.
 *
 *   203.0.113.7 - - [10/Oct/2025:13:55:36 +0200] "GET /a?b HTTP/1.1" 200 2326 "https://from.example/" "Mozilla/5.0 ..."
 *
 * A page view is a GET that was answered with 200 or 304, of a path that is no asset by its ending.
 */
export interface Hit {
  readonly address: string;
  readonly timeMs: number;
  readonly path: string;
  /** Without its question mark. */
  readonly query: string;
  readonly referrer: string;
  readonly agent: string;
}

/** A hit; undefined: a request that is no page view; a text: why the line cannot be read. */
export type ReadHit = Hit | undefined | string;

const TEXT = String.raw`"((?:[^"\\]|\\.)*)"`;
const LINE = new RegExp(String.raw`^(\S+) [^[]*\[([^\]]*)\] ${TEXT} (\d{3}) \S+(?:$| ${TEXT} ${TEXT}(?:$| ))`);
const TIME = /^(\d\d)\/([A-Z][a-z]{2})\/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)$/;
const months = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
const asset =
  /\.(?:m?js|css|map|png|jpe?g|gif|svg|webp|avif|ico|bmp|woff2?|ttf|otf|eot|mp[34]|m4[av]|webm|ogg|wav|pdf|zip|t?gz|json|xml|txt|wasm|webmanifest|rss|atom)$/i;
const SHOWN_CHARS = 60;

export function readCombined(line: string): ReadHit {
  const [, address, time, request = '', status, referrer = '', agent = ''] = LINE.exec(line) ?? [];
  if (address === undefined) return `a line must be in the combined format: found=${line.slice(0, SHOWN_CHARS)}`;
  const timeMs = timeOf(time!);
  if (Number.isNaN(timeMs))
    return `the time must be like 10/Oct/2025:13:55:36 +0200: found=${time!.slice(0, SHOWN_CHARS)}`;
  const [method, target = '', protocol] = request.split(' ');
  // What was no HTTP (a probe, a handshake of TLS) is logged as it came.
  if (method !== 'GET' || protocol === undefined || (status !== '200' && status !== '304')) return undefined;
  const whole = target.replace(/^https?:\/\/[^/]*/i, '') || '/';
  const [beforeHash = ''] = plain(whole).split('#');
  const question = beforeHash.indexOf('?');
  const path = question < 0 ? beforeHash : beforeHash.slice(0, question);
  if (!path.startsWith('/') || asset.test(path)) return undefined;
  return {
    address,
    timeMs,
    path,
    query: question < 0 ? '' : beforeHash.slice(question + 1),
    referrer: referrer === '-' ? '' : plain(referrer),
    agent: agent === '-' ? '' : plain(agent),
  };
}

/** NaN for anything else. */
function timeOf(text: string): number {
  const [, day, name, year, hour, minute, second, sign, hours, minutes] = TIME.exec(text) ?? [];
  const month = months.indexOf(name ?? '');
  if (month < 0) return Number.NaN;
  const ms = Date.UTC(Number(year), month, Number(day), Number(hour), Number(minute), Number(second));
  // 31 Feb is another day then.
  if (new Date(ms).getUTCDate() !== Number(day) || Number(hour) > 23 || Number(minute) > 59) return Number.NaN;
  const offset = (Number(hours) * 60 + Number(minutes)) * 60_000;
  return sign === '+' ? ms - offset : ms + offset;
}

/** Without the escapes that both servers write: \xHH of a byte, \" and \\. */
function plain(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replace(/((?:\\x[0-9a-fA-F]{2})+)|\\(.)/g, (_, run: string | undefined, char: string) =>
    run === undefined ? char : Buffer.from(run.replaceAll('\\x', ''), 'hex').toString('utf8'),
  );
}
