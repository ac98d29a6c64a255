/** GET|HEAD /px.gif: parameters, cookie, do not track, CORS. */
import assert from 'node:assert/strict';
import { RawConnection } from '../http/raw.ts';
import { assertProblem, type Cases } from './contract.ts';

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const madeSid = /^s_[0-9a-f]{32}$/;

export function pixelCases(cases: Cases): void {
  cases.add('GET /px.gif answers a whole transparent GIF that nobody keeps', async (client) => {
    const answer = await client.get('/px.gif');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], 'image/gif');
    assert.equal(answer.headers['cache-control'], 'no-store, no-cache, must-revalidate, max-age=0');
    assert.equal(answer.headers['pragma'], 'no-cache');
    assert.equal(answer.headers['cross-origin-resource-policy'], 'cross-origin');
    assert.equal(answer.headers['expires'], '0');
    assert.match(answer.headers['ringmain-ack']!, /^(memory|journal|sync)$/);
    assert.equal(answer.body.toString('latin1', 0, 6), 'GIF89a');
    assert.equal(answer.body.readUInt16LE(6), 1);
    assert.equal(answer.body.readUInt16LE(8), 1);
    assert.equal(answer.body.at(-1), 0x3b, 'the trailer byte');
    assert.ok(answer.body.includes(Buffer.from([0x21, 0xf9, 0x04, 0x01])), 'the extension that makes it transparent');
    await client.one();
  });

  cases.add('an event without parameters is a pageview with an id, a time and no objects', async (client) => {
    const before = Date.now();
    const event = await client.pixel('');
    assert.equal(event['e'], 'pageview');
    assert.match(event.event_id, uuid);
    assert.match(String(event['ts']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(Date.parse(String(event['ts'])) >= before && Date.parse(String(event['ts'])) <= Date.now());
    for (const key of ['utm', 'geo', 'props']) assert.ok(!(key in event), `${key} must be absent`);
    assert.equal(event['ip'], '127.0.0.1');
    for (const key of ['uid', 'url', 'ref', 'ua', 'device']) assert.ok(!(key in event), `${key} must be absent`);
  });

  cases.add('HEAD /px.gif counts and has no body', async (client) => {
    const answer = await client.get('/px.gif?e=head', { method: 'HEAD' });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-length'], '43');
    assert.equal((await client.one())['e'], 'head');
  });

  cases.add('conditional and range requests answer 200 and count', async (client) => {
    const headers = ['If-None-Match: *', 'If-Modified-Since: Sat, 21 Nov 2026 08:00:00 GMT', 'Range: bytes=0-1'];
    const answer = await client.get('/px.gif', { headers });
    assert.equal(answer.status, 200);
    assert.equal(answer.body.length, 43);
    await client.one();
  });

  cases.add('known parameters land in their keys, utm_* in utm, all others in props as strings', async (client) => {
    const id = '018F3c1e-7b2a-7cc0-9d1e-3a5b7c9d1e2f';
    const query = `?e=click&uid=u1&sid=s1&url=https://a.example/p&ref=https://b.example/&event_id=${id}&ts=2026-11-21T10:00:00%2B02:00&utm_source=news&utm_x=y&n=1&b=true`;
    const event = await client.pixel(query);
    const { ip, ...rest } = event;
    assert.deepEqual(rest, {
      event_id: id.toLowerCase(),
      ts: '2026-11-21T08:00:00.000Z',
      e: 'click',
      uid: 'u1',
      sid: 's1',
      url: 'https://a.example/p',
      ref: 'https://b.example/',
      utm: { source: 'news', x: 'y' },
      props: { n: '1', b: 'true' },
    });
    assert.equal(ip, '127.0.0.1');
  });

  cases.add(
    'ts is RFC 3339 or a number since 1970; anything else gives way to now and is kept in props',
    async (client) => {
      assert.equal((await client.pixel('?ts=1764000000'))['ts'], '2025-11-24T16:00:00.000Z');
      assert.equal((await client.pixel('?ts=1764000000123'))['ts'], '2025-11-24T16:00:00.123Z');
      const before = Date.now();
      for (const [query, props] of [
        ['?ts=', undefined],
        ['?ts=0.4711', { ts: '0.4711' }],
        ['?ts=42', { ts: '42' }],
      ] as const) {
        const event = await client.pixel(query);
        assert.ok(Date.parse(String(event['ts'])) >= before);
        assert.deepEqual(event.props, props);
      }
    },
  );

  cases.add('the keys of a line stand in the order of the model', async (client) => {
    const event = await client.pixel('?p=1&utm_x=1&ref=r&url=u&sid=s&uid=u&e=e', ['User-Agent: test']);
    assert.deepEqual(Object.keys(event), [
      'event_id',
      'ts',
      'e',
      'uid',
      'sid',
      'url',
      'ref',
      'ua',
      'ip',
      'utm',
      'props',
    ]);
  });

  cases.add('url is the Referer when it is not given, and brings its utm parameters', async (client) => {
    const headers = ['Referer: https://a.example/p?utm_source=ref&utm_medium=mail', 'User-Agent: Agent "x" 1'];
    const event = await client.pixel('?utm_source=query', headers);
    assert.equal(event['url'], 'https://a.example/p?utm_source=ref&utm_medium=mail');
    assert.deepEqual(event.utm, { source: 'query', medium: 'mail' });
    assert.equal(event['ua'], 'Agent "x" 1');
    const given = await client.pixel('?url=https://c.example/?utm_term=t', headers);
    assert.equal(given['url'], 'https://c.example/?utm_term=t');
    assert.deepEqual(given.utm, { term: 't' });
  });

  cases.add('values are decoded exactly once, + is space, an invalid percent stays', async (client) => {
    const event = await client.pixel('?a=%2541&b=x+y%2B&c=100%&d=%zz%4&e=%C3%A9');
    assert.deepEqual(event.props, { a: '%41', b: 'x y+', c: '100%', d: '%zz%4' });
    assert.equal(event['e'], 'é');
  });

  cases.add('invalid UTF-8 becomes U+FFFD; NUL and control characters are escaped', async (client) => {
    const event = await client.pixel('?a=%ff%C3&b=%00%01%1f%7f&c=%ED%A0%80');
    assert.equal(event.props['b'], '\u0000\u0001\u001f\u007f');
    assert.match(String(event.props['a']), /^\ufffd+$/);
    assert.match(String(event.props['c']), /^\ufffd+$/);
  });

  cases.add('of a known key the first wins, an unknown key that comes again is an array', async (client) => {
    const event = await client.pixel('?e=first&e=second&x=1&x=2&x=3&y=1&utm_source=a&utm_source=b');
    assert.equal(event['e'], 'first');
    assert.deepEqual(event.props, { x: ['1', '2', '3'], y: '1' });
    assert.equal(event.utm['source'], 'a');
  });

  cases.add('__proto__, toString and the like are plain keys', async (client) => {
    await client.get('/px.gif?__proto__=1&toString=2&constructor=3&hasOwnProperty=4');
    const event = await client.one();
    assert.equal(Object.getOwnPropertyDescriptor(event.props, '__proto__')?.value, '1');
    assert.deepEqual({ ...event.props, ['__proto__']: undefined }['toString'], '2');
    assert.equal(Object.keys(event.props).length, 4);
  });

  cases.add('32 KB of URL and headers are taken, more is answered 431', async (client) => {
    const event = await client.pixel(`?long=${'x'.repeat(28_000)}`);
    assert.equal(String(event.props['long']).length, 28_000);
    const answer = await client.get(`/px.gif?long=${'x'.repeat(40_000)}`);
    assert.equal(answer.status, 431);
    await client.none();
  });

  cases.add(
    'an event over MAX_EVENT_BYTES is answered 413 with the GIF, and not recorded',
    async (client) => {
      const answer = await client.get(`/px.gif?long=${'x'.repeat(3000)}`);
      assert.equal(answer.status, 413);
      assert.equal(answer.headers['content-type'], 'image/gif');
      assert.equal(answer.body.length, 43);
      await client.none();
    },
    { MAX_EVENT_BYTES: '2048' },
  );

  cases.add('a body on a GET means nothing, and the next request on the connection works', async (client) => {
    const connection = await RawConnection.open(client.port);
    connection.send(
      'GET /px.gif?e=a HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhelloGET /px.gif?e=b HTTP/1.1\r\nHost: t\r\n\r\n',
    );
    assert.equal((await connection.answer())?.status, 200);
    assert.equal((await connection.answer())?.status, 200);
    connection.close();
    assert.deepEqual(
      (await client.recorded()).map((event) => event['e']),
      ['a', 'b'],
    );
  });

  // Cookie.
  cases.add('a new visitor gets a sid of 128 random bits in a cookie', async (client) => {
    const answer = await client.get('/px.gif');
    const event = await client.one();
    assert.match(String(event['sid']), madeSid);
    assert.equal(answer.headers['set-cookie'], `sid=${event['sid']}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax`);
  });
  cases.add('the cookie is taken, and not set again', async (client) => {
    const answer = await client.get('/px.gif', { headers: ['Cookie: a=b; sid=s_mine; c=d'] });
    assert.equal((await client.one())['sid'], 's_mine');
    assert.equal(answer.headers['set-cookie'], undefined);
  });
  cases.add('the sid of the query beats the cookie, and makes none', async (client) => {
    const answer = await client.get('/px.gif?sid=q', { headers: ['Cookie: sid=s_mine'] });
    assert.equal((await client.one())['sid'], 'q');
    assert.equal(answer.headers['set-cookie'], undefined);
  });
  cases.add('a malformed or oversized cookie is replaced', async (client) => {
    for (const bad of ['a b', '"x"', '<x>', 'x'.repeat(129), '', 'é', 'a,b']) {
      const answer = await client.get('/px.gif', { headers: [`Cookie: sid=${bad}`] });
      const event = await client.one();
      assert.match(String(event['sid']), madeSid, bad);
      assert.match(answer.headers['set-cookie']!, new RegExp(`^sid=${event['sid']};`));
    }
  });
  // A browser sends the cookie of the host and that of its parent domain, and a proxy may split them into lines.
  const ours = `s_${'0123456789abcdef'.repeat(2)}`;
  for (const lines of [
    ['Cookie: sid="x"; sid=s_mine'],
    ['Cookie: sid=; a=b; sid=s_mine; sid=s_other'],
    ['Cookie: a=b', 'Cookie: sid=s_mine'],
    ['Cookie: sid=a b', 'Accept: */*', 'Cookie: c=d', 'Cookie: e=f; sid=s_mine'],
  ]) {
    cases.add(`the well-formed sid is found in ${JSON.stringify(lines)}, and not set again`, async (client) => {
      const answer = await client.get('/px.gif', { headers: lines });
      assert.equal((await client.one())['sid'], 's_mine');
      assert.equal(answer.headers['set-cookie'], undefined);
    });
  }
  for (const lines of [
    [`Cookie: sid=login-of-the-shop; sid=${ours}`],
    ['Cookie: sid=login-of-the-shop', `Cookie: sid=${ours}`],
    [`Cookie: sid=${ours}`, 'Cookie: sid=login-of-the-shop'],
    ['Cookie: a=b', 'Cookie: sid=login-of-the-shop', `Cookie: c=d; sid=${ours}`, 'Cookie: sid=another'],
  ]) {
    const stands = JSON.stringify(lines);
    cases.add(`of several well-formed sids the one that was made here is taken in ${stands}`, async (client) => {
      assert.equal((await client.pixel('', lines))['sid'], ours);
    });
  }

  cases.add(
    'COOKIES=off reads none, sets none and makes no sid',
    async (client) => {
      const answer = await client.get('/px.gif', { headers: ['Cookie: sid=s_mine'] });
      assert.equal(answer.headers['set-cookie'], undefined);
      assert.ok(!('sid' in (await client.one())));
      assert.equal((await client.pixel('?sid=q'))['sid'], 'q');
    },
    { COOKIES: 'off' },
  );
  cases.add(
    'the cookie follows its options',
    async (client) => {
      const answer = await client.get('/px.gif', { headers: ['X-Forwarded-Proto: https'] });
      const event = await client.one();
      const rest = 'Path=/; Max-Age=86400; HttpOnly; SameSite=None; Domain=example.com; Secure';
      assert.equal(answer.headers['set-cookie'], `visitor=${event['sid']}; ${rest}`);
      // A proxy that does not tell may well speak TLS to its clients, and None without Secure is dropped by browsers.
      assert.match((await client.get('/px.gif')).headers['set-cookie']!, new RegExp(`${rest}$`));
      await client.recorded();
    },
    {
      COOKIE_NAME: 'visitor',
      COOKIE_DOMAIN: 'example.com',
      COOKIE_MAX_AGE_DAYS: '1',
      COOKIE_SAMESITE: 'None',
      TRUST_PROXY: 'true',
    },
  );

  // Do not track.
  for (const header of ['DNT: 1', 'Sec-GPC: 1']) {
    cases.add(`${header} is answered as usual and not recorded, without a cookie`, async (client) => {
      const answer = await client.get('/px.gif?e=secret', { headers: [header] });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['content-type'], 'image/gif');
      assert.equal(answer.headers['set-cookie'], undefined);
      assert.equal(answer.headers['ringmain-ack'], undefined, 'nothing was stored, so nothing is promised');
      await client.none();
    });
    cases.add(
      `${header} with DNT_MODE=anonymize is recorded without ip, ua, uid, sid or cookie`,
      async (client) => {
        const headers = [header, 'User-Agent: test', 'Cookie: sid=s_mine'];
        const answer = await client.get('/px.gif?e=x&uid=u&sid=s&p=1', { headers });
        assert.equal(answer.headers['set-cookie'], undefined);
        const event = await client.one();
        for (const key of ['ip', 'ua', 'uid', 'sid']) assert.ok(!(key in event), `${key} must be absent`);
        assert.deepEqual([event['e'], event.props], ['x', { p: '1' }]);
      },
      { DNT_MODE: 'anonymize' },
    );
    cases.add(
      `${header} with DNT_RESPECT=false is an event as any other`,
      async (client) => {
        assert.equal((await client.pixel('?e=x', [header]))['e'], 'x');
      },
      { DNT_RESPECT: 'false' },
    );
  }
  cases.add('DNT: 0 and an empty Sec-GPC mean nothing', async (client) => {
    await client.pixel('', ['DNT: 0', 'Sec-GPC:']);
  });

  // CORS.
  cases.add('every page may send, with credentials, and each answer says that it differs by origin', async (client) => {
    for (const origin of ['https://page.example', 'null']) {
      const { headers } = await client.get('/px.gif', { headers: [`Origin: ${origin}`] });
      assert.equal(headers['access-control-allow-origin'], origin);
      assert.equal(headers['access-control-allow-credentials'], 'true');
      assert.equal(headers['vary'], 'Origin');
    }
    const { headers } = await client.get('/px.gif');
    assert.equal(headers['access-control-allow-origin'], undefined);
    assert.equal(headers['access-control-allow-credentials'], undefined);
    assert.equal(headers['vary'], 'Origin');
    assert.equal((await client.recorded()).length, 3);
  });
  cases.add('only the routes that take events echo an origin', async (client) => {
    for (const path of ['/healthz', '/readyz', '/metrics', '/robots.txt', '/nothing']) {
      const { headers } = await client.get(path, { headers: ['Origin: https://page.example'] });
      assert.equal(headers['access-control-allow-origin'], undefined, path);
      assert.equal(headers['access-control-allow-credentials'], undefined, path);
    }
  });
  const listed = { CORS_ORIGINS: 'https://page.example,https://other.example' };
  cases.add(
    'with a list a page is echoed, with credentials and Vary',
    async (client) => {
      const answer = await client.get('/px.gif', { headers: ['Origin: https://page.example'] });
      assert.equal(answer.headers['access-control-allow-origin'], 'https://page.example');
      assert.equal(answer.headers['access-control-allow-credentials'], 'true');
      assert.equal(answer.headers['vary'], 'Origin');
      const plain = await client.get('/px.gif');
      assert.equal(plain.headers['access-control-allow-origin'], undefined);
      assert.equal(plain.headers['vary'], 'Origin');
      await client.recorded();
    },
    listed,
  );
  cases.add(
    'with a list a foreign page is answered 403, without a cookie, and not recorded',
    async (client) => {
      for (const origin of [
        'https://evil.example',
        'null',
        'https://page.example.evil.example',
        'http://page.example',
      ]) {
        const answer = await client.get('/px.gif', { headers: [`Origin: ${origin}`] });
        assertProblem(answer, 403, 'ORIGIN_FORBIDDEN');
        assert.equal(answer.headers['access-control-allow-origin'], undefined);
        assert.equal(answer.headers['set-cookie'], undefined);
      }
      await client.none();
    },
    listed,
  );
  cases.add('a preflight is answered 204 with a long max-age and records nothing', async (client) => {
    for (const path of ['/px.gif', '/collect']) {
      const headers = [
        'Origin: https://page.example',
        'Access-Control-Request-Method: POST',
        'Access-Control-Request-Headers: content-type,traceparent',
      ];
      const answer = await client.get(path, { method: 'OPTIONS', headers });
      assert.equal(answer.status, 204);
      assert.equal(answer.headers['access-control-allow-origin'], 'https://page.example');
      assert.equal(answer.headers['access-control-allow-credentials'], 'true');
      assert.equal(answer.headers['access-control-allow-private-network'], undefined);
      assert.equal(answer.headers['access-control-max-age'], '86400');
      assert.equal(answer.headers['access-control-allow-headers'], 'content-type,traceparent');
      assert.match(answer.headers['access-control-allow-methods']!, path === '/collect' ? /POST/ : /GET/);
      assert.equal(answer.headers['set-cookie'], undefined);
    }
    await client.none();
  });
  cases.add('a public page may send to a collector of the local network', async (client) => {
    const headers = [
      'Origin: https://page.example',
      'Access-Control-Request-Method: POST',
      'Access-Control-Request-Private-Network: true',
    ];
    const answer = await client.get('/collect', { method: 'OPTIONS', headers });
    assert.equal(answer.headers['access-control-allow-private-network'], 'true');
  });
  cases.add(
    'with a list a preflight of a foreign page is answered 403',
    async (client) => {
      const headers = ['Origin: https://evil.example', 'Access-Control-Request-Method: POST'];
      assertProblem(await client.get('/collect', { method: 'OPTIONS', headers }), 403, 'ORIGIN_FORBIDDEN');
      const own = await client.get('/collect', {
        method: 'OPTIONS',
        headers: ['Origin: https://other.example', 'Access-Control-Request-Method: POST'],
      });
      assert.equal(own.headers['access-control-allow-credentials'], 'true');
      assert.equal(own.headers['access-control-allow-origin'], 'https://other.example');
    },
    listed,
  );
}
