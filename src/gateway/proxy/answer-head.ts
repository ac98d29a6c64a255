/**
 * Answer head: the head of a backend's answer, read strictly (RFC 9112, sections 4 to 6). What two parsers could read
 * differently is refused: folded lines, blanks in front of a colon, bare CR or LF, two lengths, a length beside
 * chunked. So nothing of an answer can be taken for another one.
 */

/** A backend's bytes are no answer of HTTP, or not a whole one. Clients read the reason. */
export class BadAnswer extends Error {
  override readonly name = 'BadAnswer';
}

export interface AnswerHead {
  readonly status: number;
  /** Names in lower case, in the order of the wire. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Content-Length; undefined: there is none. */
  readonly length: number | undefined;
  readonly chunked: boolean;
  /** The connection may be used again behind the answer. */
  readonly keepsAlive: boolean;
  /** For how long, seconds, when the backend says so. */
  readonly keepAliveS: number | undefined;
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
const LENGTH = /^\d{1,15}$/;
const TIMEOUT = /(?:^|[,\s])timeout=(\d{1,9})/i;
const BLANK = /[\t ]/;

/** Whether a text may be the value of a header. */
export const fitsValue = (text: string): boolean => !BAD_VALUE.test(text);

/** Whether a text may be the name of a header. */
export const fitsName = (text: string): boolean => NAME.test(text);

function headerValue(line: string, from: number): string {
  let start = from;
  let end = line.length;
  while (start < end && BLANK.test(line[start]!)) start += 1;
  while (end > start && BLANK.test(line[end - 1]!)) end -= 1;
  const value = line.slice(start, end);
  if (BAD_VALUE.test(value))
    throw new BadAnswer('the backend does not answer in HTTP: a header has a control character');
  return value;
}

/** `text`: from the status line to the last header, as latin1, without the empty line. Throws BadAnswer. */
export function parseAnswerHead(text: string): AnswerHead {
  const lines = text.split('\r\n');
  const status = STATUS_LINE.exec(lines[0]!);
  if (status === null) throw new BadAnswer('the backend does not answer in HTTP: there is no status line');
  const headers: (readonly [string, string])[] = [];
  let length: number | undefined;
  let chunked = false;
  let connection = '';
  let keepAliveS: number | undefined;
  for (let i = 1; i < lines.length; i += 1) {
    const line = lines[i]!;
    const colon = line.indexOf(':');
    const given = colon < 0 ? '' : line.slice(0, colon);
    if (!NAME.test(given)) throw new BadAnswer('the backend does not answer in HTTP: a line is no header');
    const name = given.toLowerCase();
    const value = headerValue(line, colon + 1);
    if (name === 'content-length') {
      if (length !== undefined || !LENGTH.test(value)) throw new BadAnswer('the backend must give one Content-Length');
      length = Number(value);
    } else if (name === 'transfer-encoding') {
      if (chunked || value.toLowerCase() !== 'chunked')
        throw new BadAnswer('the Transfer-Encoding of the backend must be chunked');
      chunked = true;
    } else if (name === 'connection') connection = connection === '' ? value : `${connection},${value}`;
    else if (name === 'keep-alive') keepAliveS = Number(TIMEOUT.exec(value)?.[1] ?? Number.NaN);
    headers.push([name, value]);
  }
  const old = status[1] === '0';
  if (chunked && (length !== undefined || old))
    throw new BadAnswer('the backend must not give two ends of a body: a length, or HTTP/1.0, beside chunked');
  const closes = old || (connection !== '' && /(?:^|[,\s])close(?:$|[,\s])/i.test(connection));
  return {
    status: Number(status[2]),
    headers,
    length,
    chunked,
    keepsAlive: !closes,
    keepAliveS: Number.isNaN(keepAliveS) ? undefined : keepAliveS,
  };
}
