/** The wire, methods, operations, the client's address. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, exchange, RawConnection, requestBytes } from '../http/raw.ts';
import { assertProblem, type Cases, type Client } from './contract.ts';

const pixelBytes = (e: string) => `GET /px.gif?e=${e} HTTP/1.1\r\nHost: t\r\n\r\n`;
const collectBytes = (framing: string, body: string) =>
  `POST /collect HTTP/1.1\r\nHost: t\r\n${framing}\r\n\r\n${body}`;

/**
 * What comes behind 100 Continue. The addon says it each time that it routes a request, and one that is looked at is
 * routed twice (http/fairness.ts); clients take several of them (RFC 9110, section 15.2).
 */
async function finalAnswer(connection: RawConnection): Promise<Answer | undefined> {
  for (;;) {
    const answer = await connection.answer();
    if (answer?.status !== 100) return answer;
  }
}

async function withConnection(client: Client, work: (connection: RawConnection) => Promise<void>): Promise<void> {
  const connection = await RawConnection.open(client.port);
  try {
    await work(connection);
  } finally {
    connection.close();
  }
}

export function wireCases(cases: Cases): void {
  cases.add('an unknown path is 404, a known one with another method is 405 with Allow', async (client) => {
    assertProblem(await client.get('/nope?x=1'), 404, 'NOT_FOUND');
    assertProblem(await client.get('/px.gif/'), 404, 'NOT_FOUND');
    assertProblem(await client.get('//px.gif'), 404, 'NOT_FOUND');
    const rows: readonly (readonly [string, string, string])[] = [
      ['POST', '/px.gif', 'GET, HEAD, OPTIONS'],
      ['DELETE', '/px.gif', 'GET, HEAD, OPTIONS'],
      ['GET', '/collect', 'POST, OPTIONS'],
      ['PUT', '/collect', 'POST, OPTIONS'],
      ['POST', '/healthz', 'GET, HEAD'],
      ['FOO', '/collect', 'POST, OPTIONS'],
      ['get', '/px.gif', 'GET, HEAD, OPTIONS'],
    ];
    for (const [method, path, allow] of rows) {
      const answer = await client.get(path, { method });
      assertProblem(answer, 405, 'METHOD_NOT_ALLOWED');
      assert.equal(answer.headers['allow'], allow);
    }
    assert.equal((await client.get('/nope', { method: 'HEAD' })).status, 404);
    await client.none();
  });

  cases.add('an answer that did not read the body leaves the connection usable', async (client) => {
    await withConnection(client, async (connection) => {
      connection.send(
        Buffer.concat([
          requestBytes('/nope', { method: 'POST', body: pixelBytes('smuggled') }),
          Buffer.from(pixelBytes('next')),
        ]),
      );
      assert.equal((await connection.answer())?.status, 404);
      assert.equal((await connection.answer())?.status, 200);
    });
    assert.deepEqual(
      (await client.recorded()).map((event) => event['e']),
      ['next'],
    );
  });

  for (const ack of ['memory', 'journal']) {
    cases.add(
      `pipelined requests are answered in order and each is recorded once, ACK=${ack}`,
      async (client) => {
        const names = Array.from({ length: 20 }, (_, i) => `p${i}`);
        await withConnection(client, async (connection) => {
          connection.send(
            names
              .map((name, i) =>
                i % 3 === 2 ? collectBytes(`Content-Length: ${name.length + 8}`, `{"e":"${name}"}`) : pixelBytes(name),
              )
              .join(''),
          );
          for (const [i] of names.entries()) assert.equal((await connection.answer())?.status, i % 3 === 2 ? 202 : 200);
        });
        assert.deepEqual(
          (await client.recorded()).map((event) => event['e']),
          names,
        );
      },
      { ACK: ack },
    );
  }

  cases.add('a half-closed client is answered', async (client) => {
    await withConnection(client, async (connection) => {
      connection.socket.end(pixelBytes('half'));
      assert.equal((await connection.answer())?.status, 200);
    });
    assert.equal((await client.one())['e'], 'half');
  });

  cases.add('a request may come one byte at a time', async (client) => {
    await withConnection(client, async (connection) => {
      for (const byte of pixelBytes('slow') + collectBytes('Content-Length: 13', '{"e":"slow2"}')) {
        connection.send(byte);
        await sleep(0);
      }
      assert.equal((await connection.answer())?.status, 200);
      assert.equal((await connection.answer())?.status, 202);
    });
    assert.deepEqual(
      (await client.recorded()).map((event) => event['e']),
      ['slow', 'slow2'],
    );
  });

  cases.add('a chunked body is taken, and closes the connection', async (client) => {
    const answer = await exchange(
      client.port,
      collectBytes('Transfer-Encoding: chunked', '5\r\n{"e":\r\n4\r\n"c"}\r\n0\r\n\r\n'),
    );
    assert.equal(answer?.status, 202);
    assert.equal(answer?.headers['connection'], 'close');
    assert.equal((await client.one())['e'], 'c');
  });

  cases.add(
    'a chunked body whose trailer comes with it is dropped with 505, one whose trailer comes later is taken',
    async (client) => {
      const chunks = '9\r\n{"e":"t"}\r\n0\r\n';
      const head = 'Trailer: X-Sum\r\nTransfer-Encoding: chunked';
      assert.equal((await exchange(client.port, collectBytes(head, `${chunks}X-Sum: 1\r\n\r\n`)))?.status, 505);
      await client.none();
      await withConnection(client, async (connection) => {
        connection.send(collectBytes(head, chunks));
        assert.equal((await connection.answer())?.status, 202);
        connection.send('X-Sum: 1\r\n\r\n');
        await connection.closed();
      });
      await client.one();
    },
  );

  cases.add('Expect: 100-continue is answered 100, then the body is taken', async (client) => {
    await withConnection(client, async (connection) => {
      connection.send(collectBytes('Expect: 100-continue\r\nContent-Length: 9', ''));
      assert.equal((await connection.answer())?.status, 100);
      connection.send('{"e":"x"}');
      assert.equal((await finalAnswer(connection))?.status, 202);
    });
    await client.one();
  });

  cases.add('a body that is announced too large is refused before it comes, also with Expect', async (client) => {
    for (const expect of ['', 'Expect: 100-continue\r\n']) {
      await withConnection(client, async (connection) => {
        connection.send(collectBytes(`${expect}Content-Length: 1048577`, ''));
        // The addon says 100 before it asks anyone.
        if (expect !== '') assert.equal((await connection.answer())?.status, 100);
        assertProblem(await finalAnswer(connection), 413, 'BODY_TOO_LARGE');
      });
    }
    await client.none();
  });

  cases.add('an absolute-form target, HTTP/1.0 and HTTP/2 are refused by the addon with 505', async (client) => {
    for (const line of ['GET http://t/px.gif HTTP/1.1', 'GET /px.gif HTTP/1.0', 'PRI * HTTP/2.0']) {
      assert.equal((await exchange(client.port, `${line}\r\nHost: t\r\n\r\n`))?.status, 505, line);
    }
    await client.none();
  });

  cases.add('a missing or second Host, NUL in a header and a bare LF are refused by the addon', async (client) => {
    for (const head of ['', 'Host: a\r\nHost: b\r\n', 'Host: a\r\nX: a\0b\r\n']) {
      assert.equal((await exchange(client.port, `GET /px.gif HTTP/1.1\r\n${head}\r\n`))?.status, 400);
    }
    assert.ok(
      [400, 505, undefined].includes((await exchange(client.port, 'GET /px.gif HTTP/1.1\nHost: a\n\n'))?.status),
    );
    await client.none();
  });

  const smuggled = pixelBytes('smuggled');
  const hostile: readonly (readonly [string, string])[] = [
    ['two Content-Lengths', collectBytes('Content-Length: 9\r\nContent-Length: 60', `{"e":"x"}${smuggled}`)],
    ['an odd Content-Length', collectBytes('Content-Length: +9', `{"e":"x"}${smuggled}`)],
    ['an empty Content-Length', collectBytes('Content-Length:', smuggled)],
    [
      'Content-Length beside Transfer-Encoding',
      collectBytes('Content-Length: 9\r\nTransfer-Encoding: chunked', `0\r\n\r\n${smuggled}`),
    ],
    [
      'Transfer-Encoding: xchunked',
      collectBytes('Transfer-Encoding: xchunked', `9\r\n{"e":"x"}\r\n0\r\n\r\n${smuggled}`),
    ],
    [
      'two Transfer-Encodings',
      collectBytes(
        'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
        `9\r\n{"e":"x"}\r\n0\r\n\r\n${smuggled}`,
      ),
    ],
    ['a space before a colon', collectBytes('Content-Length : 9', `{"e":"x"}${smuggled}`)],
    [
      'a chunk size past 2^64',
      collectBytes('Transfer-Encoding: chunked', `fffffffffffffffff\r\n{"e":"x"}\r\n0\r\n\r\n${smuggled}`),
    ],
    [
      'a request behind a chunked body',
      collectBytes('Transfer-Encoding: chunked', `9\r\n{"e":"x"}\r\n0\r\n\r\n${smuggled}`),
    ],
    [
      'a chunked body on the pixel',
      `GET /px.gif?e=x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    ],
    [
      'two Content-Lengths on the pixel',
      `GET /px.gif?e=x HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nContent-Length: 60\r\n\r\n${smuggled}`,
    ],
    [
      'two Content-Lengths on an unknown path',
      `POST /nope HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nContent-Length: 60\r\n\r\n${smuggled}`,
    ],
  ];
  for (const [name, bytes] of hostile) {
    cases.add(`smuggling by ${name}: nothing is recorded, the connection closes`, async (client) => {
      await withConnection(client, async (connection) => {
        connection.send(bytes);
        const answer = await connection.answer();
        if (answer !== undefined) assert.equal(answer.status, 400);
        await connection.closed();
      });
      await client.none();
    });
  }

  cases.add('bad framing is answered 400 with a problem that says what was found', async (client) => {
    const rows: readonly (readonly [string, string, RegExp])[] = [
      ['Content-Length: 9\r\nContent-Length: 10', '{"e":"x"}', /Content-Length must be given once: found=2/],
      ['Content-Length:', '', /Content-Length must be a number/],
      ['Transfer-Encoding: xchunked', '9\r\n{"e":"x"}\r\n0\r\n\r\n', /Transfer-Encoding must be chunked/],
      ['Transfer-Encoding: gzip, chunked', '9\r\n{"e":"x"}\r\n0\r\n\r\n', /Transfer-Encoding must be chunked/],
      [
        'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
        '0\r\n\r\n',
        /Transfer-Encoding must be given once: found=2/,
      ],
    ];
    for (const [framing, body, detail] of rows) {
      const problem = assertProblem(await exchange(client.port, collectBytes(framing, body)), 400, 'BAD_REQUEST');
      assert.match(String(problem['detail']), detail);
    }
    await client.none();
  });

  cases.add(
    'a chunk extension is counted into the size by the addon: 408, nothing is recorded',
    async (client) => {
      const answer = await exchange(
        client.port,
        collectBytes('Transfer-Encoding: chunked', '9;a=b\r\n{"e":"x"}\r\n0\r\n\r\n'),
      );
      assertProblem(answer, 408, 'BODY_TIMEOUT');
      await client.none();
    },
    { BODY_TIMEOUT_MS: '300' },
  );

  cases.add('UTF-8 in a header is kept, but for what the addon cuts off at its ends', async (client) => {
    // The two bytes of an é, each as a character, for headers go out byte by byte.
    const e = '\u00c3\u00a9';
    assert.equal((await client.pixel('', [`User-Agent: caf${e} ${e}t${e}.`]))['ua'], 'café été.');
    assert.equal((await client.pixel('', [`User-Agent: ${e}caf${e}`]))['ua'], 'caf');
    assert.equal(
      (await client.pixel('', [`Referer: https://a.example/${e}?utm_source=${e}.`]))['url'],
      'https://a.example/é?utm_source=é.',
    );
    assert.equal((await client.pixel('', ['User-Agent: caf\u00e9 latin1']))['ua'], 'caf\ufffd latin1');
    await client.post({ e: 'x' }, { headers: [`User-Agent: caf${e}.`] });
    assert.equal((await client.one())['ua'], 'café.');
  });

  cases.add(
    'a body that does not come in time is answered 408 and closed, others are not held up',
    async (client) => {
      await withConnection(client, async (connection) => {
        connection.send(collectBytes('Content-Length: 9', '{"e"'));
        const started = performance.now();
        await client.pixel('?e=meanwhile');
        assertProblem(await connection.answer(), 408, 'BODY_TIMEOUT');
        assert.ok(performance.now() - started >= 250);
        await connection.closed();
      });
      await client.none();
    },
    { BODY_TIMEOUT_MS: '300' },
  );

  cases.add(
    'more than MAX_CONNECTIONS are closed at once but for one that may look in, and room comes back',
    async (client) => {
      const open = await Promise.all(Array.from({ length: 10 }, () => RawConnection.open(client.port)));
      await sleep(100);
      const shed = open.filter((connection) => connection.ended).length;
      // One seat of the reserve a second: a slow machine may take two.
      assert.ok(shed === 5 || shed === 4, `of ten connections five must be closed: ${shed}`);
      for (const connection of open) connection.close();
      await sleep(50);
      await client.pixel('?e=again');
    },
    { MAX_CONNECTIONS: '4' },
  );

  // Operations.
  cases.add('/healthz, /readyz, /metrics and /robots.txt answer without cookie or record', async (client) => {
    for (const path of ['/healthz', '/readyz', '/readyz?sinks=ignore', '/metrics', '/robots.txt']) {
      const answer = await client.get(path);
      assert.equal(answer.status, 200, path);
      assert.equal(answer.headers['set-cookie'], undefined);
      assert.equal((await client.get(path, { method: 'HEAD' })).status, 200);
    }
    assert.match((await client.get('/robots.txt')).text(), /^User-agent: \*\nDisallow: \/\n$/);
    assert.equal((await client.get('/readyz')).headers['content-type'], 'application/json');
    await client.none();
  });

  // Address.
  const forwarded = ['X-Forwarded-For: 6.6.6.6, 203.0.113.9'];
  const addressRows: readonly (readonly [Record<string, string>, readonly string[], string])[] = [
    [{}, forwarded, '127.0.0.1'],
    [{ TRUST_PROXY: 'true' }, forwarded, '6.6.6.6'],
    [{ TRUST_PROXY: 'true' }, ['X-Forwarded-For: <script>'], '127.0.0.1'],
    [{ TRUST_PROXY: 'true' }, ['X-Forwarded-For: ::ffff:1.2.3.4'], '1.2.3.4'],
    [{ TRUST_PROXY: '1' }, forwarded, '203.0.113.9'],
    [{ TRUST_PROXY: '1' }, ['X-Forwarded-For: 6.6.6.6', 'Accept: */*', 'X-Forwarded-For: 203.0.113.9'], '203.0.113.9'],
    [{ TRUST_PROXY: '127.0.0.0/8' }, forwarded, '203.0.113.9'],
    [{ TRUST_PROXY: '10.0.0.0/8' }, forwarded, '127.0.0.1'],
    [
      { TRUST_PROXY: 'true', CLIENT_IP_HEADER: 'CF-Connecting-IP' },
      ['CF-Connecting-IP: 203.0.113.7', 'X-Forwarded-For: 6.6.6.6'],
      '203.0.113.7',
    ],
    [{ TRUST_PROXY: 'true', IP_MODE: 'truncate' }, ['X-Forwarded-For: 203.0.113.9'], '203.0.113.0'],
    [{ TRUST_PROXY: 'true', IP_MODE: 'truncate' }, ['X-Forwarded-For: 2001:db8:1:2:3::4'], '2001:db8:1::'],
  ];
  for (const [options, headers, address] of addressRows) {
    cases.add(
      `${JSON.stringify(options)} with ${headers.join(', ')} records ${address}`,
      async (client) => {
        assert.equal((await client.pixel('', headers))['ip'], address);
      },
      options,
    );
  }
  cases.add(
    'IP_MODE=none records no address',
    async (client) => {
      assert.ok(!('ip' in (await client.pixel(''))));
    },
    { IP_MODE: 'none' },
  );
  cases.add(
    'IP_MODE=hash records the same hash for the same address, and never the address',
    async (client) => {
      const of = async (address: string) => String((await client.pixel('', [`X-Forwarded-For: ${address}`]))['ip']);
      const [one, again, other] = [await of('203.0.113.9'), await of('203.0.113.9'), await of('203.0.113.10')];
      assert.match(one, /^[0-9a-f]{32}$/);
      assert.equal(one, again);
      assert.notEqual(one, other);
    },
    { TRUST_PROXY: 'true', IP_MODE: 'hash', IP_HASH_SECRET: 'a secret of some length' },
  );
  cases.add(
    'PROXY_PROTOCOL=true takes the address of a PROXY v2 header, for the one request of a connection',
    async (client) => {
      const header = Buffer.from('0d0a0d0a000d0a515549540a2111000ccb007109c0a800010050c3500', 'hex').subarray(0, 28);
      await withConnection(client, async (connection) => {
        connection.send(Buffer.concat([header, Buffer.from(pixelBytes('proxied'))]));
        const answer = await connection.answer();
        assert.deepEqual([answer?.status, answer?.headers['connection']], [200, 'close']);
        await connection.closed();
      });
      assert.deepEqual(
        (await client.recorded()).map((event) => event['ip']),
        ['203.0.113.9'],
      );
      assert.equal((await client.pixel(''))['ip'], '127.0.0.1');
    },
    { PROXY_PROTOCOL: 'true' },
  );
  cases.add(
    'UA_PARSE=true adds a device',
    async (client) => {
      const agent =
        'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1';
      const event = await client.pixel('', [`User-Agent: ${agent}`]);
      assert.deepEqual(event['device'], {
        type: 'mobile',
        browser: 'Mobile Safari',
        browser_version: '17.4',
        os: 'iOS',
        os_version: '17.4',
        bot: false,
      });
      const bot = await client.pixel('', ['User-Agent: Googlebot/2.1 (+http://www.google.com/bot.html)']);
      assert.equal((bot['device'] as { bot: boolean }).bot, true);
    },
    { UA_PARSE: 'true' },
  );
}
