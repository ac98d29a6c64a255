/**
 * Goal: what two readers of HTTP could read differently in an answer is refused; a body is the same however its bytes are
 * cut into pieces.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BadAnswer, parseAnswerHead } from '../../../src/gateway/proxy/answer-head.ts';
import { ChunkedBody } from '../../../src/gateway/proxy/chunked.ts';

const headOf = (...headers: readonly string[]) => parseAnswerHead(['HTTP/1.1 200 OK', ...headers].join('\r\n'));

test('a head is read with its length, its end and whether the connection may be used again', () => {
  expect(headOf('ETag: "a"', 'X-Empty:', 'Content-Length:  12\t')).toEqual({
    status: 200,
    headers: [
      ['etag', '"a"'],
      ['x-empty', ''],
      ['content-length', '12'],
    ],
    length: 12,
    chunked: false,
    keepsAlive: true,
    keepAliveS: undefined,
  });
  expect(headOf('Transfer-Encoding: Chunked', 'Keep-Alive: max=3, timeout=7')).toMatchObject({
    length: undefined,
    chunked: true,
    keepAliveS: 7,
  });
  for (const closing of ['close', 'x-a, Close', 'CLOSE,x'])
    expect(headOf(`Connection: ${closing}`).keepsAlive, closing).toBe(false);
  expect(headOf('Connection: x-closely').keepsAlive).toBe(true);
  expect(parseAnswerHead('HTTP/1.0 404 Not Found').keepsAlive).toBe(false);
  expect(parseAnswerHead('HTTP/1.1 503').status).toBe(503);
});

test('a head that could be read in two ways is refused', () => {
  const heads = [
    ['Content-Length: 5', 'Content-Length: 5'],
    ['Content-Length: 5, 5'],
    ['Content-Length: +5'],
    ['Content-Length: 0x5'],
    ['Content-Length:'],
    ['Content-Length: 5', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: gzip, chunked'],
    ['Transfer-Encoding: identity'],
    ['X-A: b', ' folded'],
    ['X-A : b'],
    [' X-A: b'],
    ['no colon'],
    [': nothing'],
    ['X-A: b\nX-B: c'],
    ['X-A: b\rX-B: c'],
    ['X-A: b\0'],
    ['X\u00c4: b'],
  ];
  for (const headers of heads) expect(() => headOf(...headers), JSON.stringify(headers)).toThrow(BadAnswer);
  const lines = [
    'HTTP/1.1 20 OK',
    'HTTP/1.1  200 OK',
    'HTTP/2 200',
    'HTTP/1.1 200 OK\n',
    'http/1.1 200 OK',
    'HTTP/1.1 099 A',
    'SSH-2.0',
    '',
  ];
  for (const line of lines) expect(() => parseAnswerHead(line), line).toThrow(BadAnswer);
  expect(() => parseAnswerHead('HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked')).toThrow(BadAnswer);
});

/** Reads a text in pieces: its body, and what stands behind it; undefined: it has not ended. */
function unchunked(
  text: string,
  cuts: readonly number[],
): { readonly body: string; readonly rest: string } | undefined {
  const bytes = Buffer.from(text, 'latin1');
  let body = '';
  const reader = new ChunkedBody((piece, from, to) => {
    body += piece.toString('latin1', from, to);
  });
  const ends = [...new Set([...cuts.filter((cut) => cut < bytes.length), bytes.length])].sort((a, b) => a - b);
  let from = 0;
  for (const to of ends) {
    const end = reader.take(bytes, from, to);
    if (end >= 0) return { body, rest: text.slice(end) };
    from = to;
  }
  return undefined;
}

test('a chunked body is the same however it is cut, and ends where it ends', () => {
  const chunk = fc.record({
    text: fc.string({ minLength: 1, maxLength: 40, unit: 'binary-ascii' }),
    ext: fc.constantFrom('', ';a=b', ' ; x'),
  });
  fc.assert(
    fc.property(
      fc.array(chunk, { maxLength: 5 }),
      fc.constantFrom('', 'X-Sum: 1\r\n', 'A: 1\r\nB:\r\n'),
      fc.array(fc.nat({ max: 300 })),
      (chunks, trailers, cuts) => {
        const whole = chunks.map(({ text, ext }) => `${text.length.toString(16)}${ext}\r\n${text}\r\n`).join('');
        const text = `${whole}0\r\n${trailers}\r\nHTTP/1.1 200 OK`;
        expect(unchunked(text, cuts)).toEqual({
          body: chunks.map((one) => one.text).join(''),
          rest: 'HTTP/1.1 200 OK',
        });
        expect(unchunked(`${whole}0\r\n${trailers}\r`, cuts)).toBeUndefined();
      },
    ),
  );
});

test('a chunked body that could be read in two ways is refused, and lines in it are bounded', () => {
  const texts = [
    '5\nhello\r\n0\r\n\r\n',
    '5\r\nhello\n0\r\n\r\n',
    '5\r\nhelloX\r\n0\r\n\r\n',
    '-5\r\nhello\r\n',
    '0x5\r\nhello\r\n',
    ' 5\r\nhello\r\n',
    '5 \r\nhello\r\n',
    '\r\nhello',
    'fffffffffffff\r\n',
    `5;${'x'.repeat(1100)}\r\nhello\r\n`,
    '0\r\nno trailer\r\n\r\n',
    '0\r\n folded: a\r\n\r\n',
    `0\r\n${'A: 1234567890\r\n'.repeat(1300)}\r\n`,
  ];
  for (const text of texts) expect(() => unchunked(text, []), JSON.stringify(text.slice(0, 40))).toThrow(BadAnswer);
});
