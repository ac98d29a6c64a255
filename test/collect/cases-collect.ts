/** POST /collect: bodies, content types, encodings, items, answers. */
import assert from 'node:assert/strict';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import type { Answer } from '../http/raw.ts';
import { assertProblem, type Cases } from './contract.ts';

interface Partly {
  readonly accepted: number;
  readonly rejected: number;
  readonly status: string;
  readonly errors: readonly { index: number; event_id?: string; code: string; message: string }[];
}
const partly = (answer: Answer): Partly => {
  assert.equal(answer.status, 202, answer.text());
  return answer.json() as Partly;
};

export function collectCases(cases: Cases): void {
  cases.add('one event object is answered 202 with its count', async (client) => {
    const answer = await client.post({ e: 'signup', uid: 'u1' });
    assert.equal(answer.status, 202);
    assert.equal(answer.text(), '{"accepted":1,"status":"ok"}');
    assert.equal(answer.headers['content-type'], 'application/json');
    assert.equal(answer.headers['x-gotrack-accepted'], '1');
    assert.match(answer.headers['ringmain-ack']!, /^(memory|journal|sync)$/);
    const event = await client.one();
    assert.deepEqual([event['e'], event['uid'], event['ip']], ['signup', 'u1', '127.0.0.1']);
  });

  cases.add(
    'each route names its own promise',
    async (client) => {
      assert.equal((await client.get('/px.gif')).headers['ringmain-ack'], 'memory');
      assert.equal((await client.post({ e: 'x' })).headers['ringmain-ack'], 'sync');
      assert.equal((await client.recorded()).length, 2);
    },
    { ACK_PIXEL: 'memory', ACK_COLLECT: 'sync' },
  );

  cases.add('an array is as many events, in their order; an empty one is none', async (client) => {
    const answer = await client.post(Array.from({ length: 50 }, (_, i) => ({ e: `e${i}` })));
    assert.equal(answer.headers['x-gotrack-accepted'], '50');
    assert.deepEqual(
      (await client.recorded()).map((event) => event['e']),
      Array.from({ length: 50 }, (_, i) => `e${i}`),
    );
    const none = await client.post([]);
    assert.equal(none.text(), '{"accepted":0,"status":"ok"}');
    await client.none();
  });

  for (const type of [
    'application/json',
    'Application/JSON; charset=utf-8',
    'APPLICATION/JSON;x=y',
    'text/plain',
    'text/plain;charset=UTF-8',
    '',
  ]) {
    cases.add(`content type ${type || '(none)'} is taken`, async (client) => {
      const headers = type === '' ? [] : [`Content-Type: ${type}`];
      assert.equal((await client.post('{"e":"typed"}', { headers })).status, 202);
      await client.one();
    });
  }
  for (const type of [
    'text/html',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonx',
    'json',
    'application/xml',
  ]) {
    cases.add(`content type ${type} is answered 415`, async (client) => {
      assertProblem(
        await client.post('{"e":"typed"}', { headers: [`Content-Type: ${type}`] }),
        415,
        'UNSUPPORTED_MEDIA_TYPE',
      );
      await client.none();
    });
  }

  const packers: readonly (readonly [string, string, (body: string) => Uint8Array])[] = [
    ['gzip', 'gzip', gzipSync],
    ['GZIP in capitals', 'GZIP', gzipSync],
    ['deflate', 'deflate', deflateSync],
    ['deflate without its header', 'deflate', deflateRawSync],
    ['br', 'br', brotliCompressSync],
  ];
  for (const [name, encoding, pack] of packers) {
    cases.add(`a body packed by ${name} is taken`, async (client) => {
      for (const count of [1, 3000]) {
        const body = JSON.stringify(Array.from({ length: count }, (_, i) => ({ e: 'packed', n: i })));
        const answer = await client.post(pack(body), { headers: [`Content-Encoding: ${encoding}`] });
        assert.equal(answer.headers['x-gotrack-accepted'], String(count));
        assert.equal((await client.recorded()).length, count);
      }
    });
  }
  cases.add('an unknown encoding is answered 415 with those that are taken, a damaged body 400', async (client) => {
    const answer = await client.post('{}', { headers: ['Content-Encoding: zstd'] });
    assertProblem(answer, 415, 'UNSUPPORTED_ENCODING');
    assert.equal(answer.headers['accept-encoding'], 'gzip, deflate, br');
    assertProblem(await client.post('{}', { headers: ['Content-Encoding: gzip'] }), 400, 'INVALID_ENCODING');
    await client.none();
  });

  const limit = { MAX_BODY_BYTES: '2000' };
  cases.add(
    'a body of MAX_BODY_BYTES is taken, one byte more is not, plain or packed',
    async (client) => {
      const body = (bytes: number) => `{"e":"${'x'.repeat(bytes - 8)}"}`;
      for (const pack of [(text: string) => Buffer.from(text), gzipSync, brotliCompressSync]) {
        const headers =
          pack === gzipSync ? ['Content-Encoding: gzip'] : pack === brotliCompressSync ? ['Content-Encoding: br'] : [];
        assert.equal((await client.post(pack(body(2000)), { headers })).status, 202);
        await client.one();
        const problem = assertProblem(await client.post(pack(body(2001)), { headers }), 413, 'BODY_TOO_LARGE');
        assert.equal(problem['limit'], 2000);
      }
      await client.none();
    },
    limit,
  );
  cases.add('a bomb is answered 413 at the limit', async (client) => {
    const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024, ' '));
    assertProblem(await client.post(bomb, { headers: ['Content-Encoding: gzip'] }), 413, 'BODY_TOO_LARGE');
    await client.none();
  });

  cases.add('of a batch the good items are taken, the bad ones are listed', async (client) => {
    const id = '018f3c1e-7b2a-7cc0-9d1e-3a5b7c9d1e2f';
    const answer = await client.post([
      { e: 'good' },
      7,
      { event_id: 'nope', e: 'x' },
      { event_id: `${id}0` },
      { e: 'good2' },
    ]);
    const { accepted, rejected, errors } = partly(answer);
    assert.deepEqual([accepted, rejected], [2, 3]);
    assert.deepEqual(
      errors.map((error) => error.index),
      [1, 2, 3],
    );
    assert.equal(errors[2]!.event_id, `${id}0`);
    for (const error of errors) assert.deepEqual([error.code, typeof error.message], ['INVALID_EVENT', 'string']);
    assert.equal(answer.headers['x-gotrack-accepted'], '2');
    assert.deepEqual(
      (await client.recorded()).map((event) => event['e']),
      ['good', 'good2'],
    );
  });

  cases.add('a batch without a good item is answered 400 with the list', async (client) => {
    const problem = assertProblem(await client.post([1, 'x', null, [], { n: 5 }]), 400, 'NO_VALID_EVENT');
    assert.equal((problem['errors'] as unknown[]).length, 5);
    assertProblem(await client.post({ event_id: 'nope' }), 400, 'NO_VALID_EVENT');
    await client.none();
  });

  // Goal: a body that speaks another product's language is no page view. Method: its author reads what is missing, and what to call it.
  cases.add(
    'an object without a key of the event model is answered 400, which says what is missing',
    async (client) => {
      for (const [body, found] of [
        [{}, 'found=none'],
        [{ event: 'signup' }, 'found="event" (did you mean e?)'],
        [[{ type: 'track', userId: 'u1' }], 'found="type" (did you mean e?), "userId" (did you mean uid?)'],
        [{ ip: '8.8.8.8', geo: {}, plan: 'pro' }, 'found="plan"'],
      ] as const) {
        const problem = assertProblem(await client.post(body), 400, 'NO_VALID_EVENT');
        const must = 'event must be an object with at least one of event_id, ts, e, uid, sid, url, ref, ua, utm, props';
        assert.equal(problem['detail'], `at least one event must be valid: rejected=1, first=${must}: ${found}`);
      }
      await client.none();
    },
  );

  cases.add('an envelope is taken as its array; errors keep their indexes', async (client) => {
    for (const name of ['batch', 'events']) {
      const answer = await client.post({ [name]: [{ e: 'a' }, {}, { e: 'b' }], sentAt: '2026-11-21T10:00:00Z' });
      const { accepted, errors } = partly(answer);
      assert.deepEqual([accepted, errors.length, errors[0]!.index], [2, 1, 1]);
      assert.deepEqual(
        (await client.recorded()).map((event) => event['e']),
        ['a', 'b'],
      );
    }
    await client.post({ uid: 'u', events: [{ e: 'a' }] });
    assert.deepEqual((await client.one()).props, { events: [{ e: 'a' }] });
  });

  // Goal: no key but event_id costs an event. Method: one wrong kind after the other, each answered without an error.
  cases.add('a value of a wrong kind costs its key, not the event', async (client) => {
    const rows: readonly (readonly [sent: object, key: string, taken: unknown])[] = [
      [{ e: 'x', props: [] }, 'props', undefined],
      [{ utm: { source: 'a', term: null, content: 5 } }, 'utm', { source: 'a', content: '5' }],
      [{ utm: 'a' }, 'utm', undefined],
      [{ uid: 123 }, 'uid', '123'],
      [{ uid: true }, 'uid', undefined],
      [{ e: null }, 'e', 'pageview'],
      [{ e: 404 }, 'e', '404'],
      [{ url: { href: 'x' } }, 'url', undefined],
      [{ ts: 1_764_000_000 }, 'ts', '2025-11-24T16:00:00.000Z'],
      [{ ts: '1764000000123' }, 'ts', '2025-11-24T16:00:00.123Z'],
      [{ event_id: null, ref: 'r' }, 'ref', 'r'],
    ];
    const answer = await client.post(rows.map(([sent]) => sent));
    assert.equal(answer.text(), `{"accepted":${rows.length},"status":"ok"}`);
    const events = await client.recorded();
    for (const [at, [sent, key, taken]] of rows.entries())
      assert.deepEqual(events[at]![key], taken, JSON.stringify(sent));
    const before = Date.now();
    await client.post([{ ts: '' }, { ts: 'yesterday' }]);
    const [empty, word] = await client.recorded();
    for (const event of [empty!, word!]) assert.ok(Date.parse(String(event['ts'])) >= before);
    assert.deepEqual([empty!.props, word!.props], [undefined, { ts: 'yesterday' }]);
  });
  cases.add('an event_id that is no UUID is an error of its item', async (client) => {
    for (const id of ['', 'x', 7, {}, true]) {
      assertProblem(await client.post({ e: 'x', event_id: id }), 400, 'NO_VALID_EVENT');
    }
    await client.none();
  });

  for (const body of ['5', '"text"', 'null', 'true']) {
    cases.add(`the body ${body} is answered 400 and stores nothing`, async (client) => {
      assertProblem(await client.post(body), 400, 'INVALID_BODY');
      await client.none();
    });
  }
  const malformed = [
    '',
    ' ',
    '{',
    '[{}',
    '{"a":1}x',
    '{"a":1,}',
    "{'a':1}",
    '{"a":01}',
    '{"a":"\u0001"}',
    '[{"e":"x"},]',
    '{"a":NaN}',
    '{"a":"\\x"}',
    '{"e":"x"}{"e":"y"}',
    'nul',
  ];
  cases.add('malformed JSON is answered 400 with its place, and nothing of it is stored', async (client) => {
    for (const body of malformed) {
      const problem = assertProblem(await client.post(body), 400, 'INVALID_JSON');
      assert.equal(typeof problem['offset'], 'number', body);
    }
    assertProblem(
      await client.post(Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d])),
      400,
      'INVALID_JSON',
    );
    assertProblem(await client.post('[{"e":"a"},{"e":"b"},{"e":"c"'), 400, 'INVALID_JSON');
    await client.none();
  });
  cases.add('a byte order mark before the body is skipped', async (client) => {
    assert.equal((await client.post('\ufeff{"e":"marked"}')).status, 202);
    assert.equal((await client.one())['e'], 'marked');
  });
  cases.add('nesting is bounded per item, and the error names the limit', async (client) => {
    const deep = (levels: number) => `{"props":{"a":${'['.repeat(levels)}${']'.repeat(levels)}}}`;
    assert.equal((await client.post(deep(20))).status, 202);
    await client.one();
    const problem = assertProblem(await client.post(deep(100_000)), 400, 'NO_VALID_EVENT');
    assert.match(JSON.stringify(problem['errors']), /at most 64 levels deep/);
    await client.none();
    const { accepted, errors } = partly(await client.post(`[{"e":"a"},${deep(64)},{"e":"b"}]`));
    assert.deepEqual([accepted, errors[0]!.index], [2, 1]);
    assert.equal((await client.recorded()).length, 2);
  });

  cases.add('unknown keys go into props; ip and geo of the body are dropped', async (client) => {
    await client.post({
      e: 'x',
      plan: 'pro',
      n: 5,
      ip: '6.6.6.6',
      geo: { country: 'XX' },
      props: { a: 1 },
      nested: { b: [true] },
    });
    const event = await client.one();
    assert.deepEqual(event.props, { plan: 'pro', n: 5, a: 1, nested: { b: [true] } });
    assert.deepEqual([event['ip'], event.geo], ['127.0.0.1', undefined]);
  });
  cases.add('ts with any offset is the same instant in UTC', async (client) => {
    const rows: readonly (readonly [string, string])[] = [
      ['2026-11-21T10:00:00+02:00', '2026-11-21T08:00:00.000Z'],
      ['2026-11-21T00:30:00.5-05:45', '2026-11-21T06:15:00.500Z'],
      ['2026-12-31T23:59:59.999Z', '2026-12-31T23:59:59.999Z'],
    ];
    await client.post(rows.map(([ts]) => ({ ts })));
    assert.deepEqual(
      (await client.recorded()).map((event) => event['ts']),
      rows.map(([, utc]) => utc),
    );
  });
  cases.add('strings, nested props and big integers round-trip exactly', async (client) => {
    const props =
      '{"s":"é\\u00e9\\n\\"\\\\ \u{1f600}","n":{"deep":[1,2.5,-1e10,true,false,null,{}]},"big":123456789012345678901234567890,"small":1e-400}';
    await client.post(`{"e":"x","props":${props}}`);
    const event = await client.one();
    assert.deepEqual(event.props, JSON.parse(props));
    assert.ok(
      client.subject.lines().some((line) => line.includes('123456789012345678901234567890')),
      'no digit may be lost',
    );
  });
  cases.add('an escaped lone surrogate becomes U+FFFD, a pair stays', async (client) => {
    await client.post('{"e":"x","props":{"lone":"a\\ud800b","pair":"\\ud83d\\ude00"}}');
    assert.deepEqual((await client.one()).props, { lone: 'a\ufffdb', pair: '\u{1f600}' });
  });
  cases.add('of a key that comes twice the last one counts', async (client) => {
    await client.post('{"e":"first","e":"last","\\u0065":"really"}');
    assert.equal((await client.one())['e'], 'really');
  });
  // A strict reader refuses a whole file for one such line.
  cases.add('no object of a line has a name twice: the last one counts, as JSON.parse has it', async (client) => {
    const before = client.subject.lines().length;
    const props = '{"k":1,"a":[{"k":1,"\\u006b":{"x":1,"x":2}}],"k":2}';
    await client.post(`{"e":"x","props":${props},"more":{"n":1,"n":{}}}`);
    assert.deepEqual((await client.one()).props, { more: { n: {} }, a: [{ k: { x: 2 } }], k: 2 });
    const line = client.subject.lines()[before]!;
    assert.deepEqual(
      [line.match(/"k":/g)?.length, line.match(/"x":/g)?.length, line.match(/"n":/g)?.length],
      [1, 1, 1],
    );
  });
  cases.add('one line per event, whatever white space the body has', async (client) => {
    const before = client.subject.lines().length;
    await client.post('\n[\r\n\t{ "e" : "x" ,\n"props" : { "a" :\n[ 1 ,\n2 ] } }\n,\n{"e":"y"}\n]\n');
    assert.equal((await client.recorded()).length, 2);
    for (const line of client.subject.lines().slice(before)) assert.ok(!/[\r\n]/.test(line));
  });
  cases.add(
    'an item over MAX_EVENT_BYTES is listed in a batch, and 413 alone',
    async (client) => {
      const large = { e: 'large', text: 'x'.repeat(3000) };
      const { accepted, errors } = partly(await client.post([{ e: 'small' }, large]));
      assert.deepEqual([accepted, errors[0]?.index, errors[0]?.code], [1, 1, 'EVENT_TOO_LARGE']);
      await client.one();
      assertProblem(await client.post(large), 413, 'EVENT_TOO_LARGE');
      await client.none();
    },
    { MAX_EVENT_BYTES: '2048' },
  );
  cases.add('a small body that would become very many events is answered 413', async (client) => {
    assertProblem(await client.post(`[${'{"e":1},'.repeat(130_000)}{"e":1}]`), 413, 'BATCH_TOO_LARGE');
    await client.none();
  });

  cases.add('sid: of the item, else of the cookie, else one new one for the batch, set as a cookie', async (client) => {
    const own = await client.post([{ sid: 'mine' }], { headers: ['Cookie: sid=s_cookie'] });
    assert.equal((await client.one())['sid'], 'mine');
    assert.equal(own.headers['set-cookie'], undefined);
    await client.post([{ e: 'x' }, { sid: 'mine' }], { headers: ['Cookie: sid=s_cookie'] });
    assert.deepEqual(
      (await client.recorded()).map((event) => event['sid']),
      ['s_cookie', 'mine'],
    );
    const made = await client.post([{ e: 'x' }, { e: 'y' }]);
    const [one, two] = await client.recorded();
    assert.equal(one!['sid'], two!['sid']);
    assert.match(
      made.headers['set-cookie']!,
      new RegExp(`^sid=${one!['sid']}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax$`),
    );
  });
  cases.add('a batch of a page of another site has no sid but its own, and no cookie', async (client) => {
    for (const headers of [
      ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty'],
      // A form that is posted: Lax comes along with links alone.
      ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document'],
    ]) {
      const answer = await client.post([{ e: 'x' }, { sid: 'own' }], { headers });
      assert.deepEqual(
        (await client.recorded()).map((event) => event['sid']),
        [undefined, 'own'],
      );
      assert.equal(answer.headers['set-cookie'], undefined);
    }
  });
  cases.add('a refused body sets no cookie', async (client) => {
    assert.equal((await client.post('{')).headers['set-cookie'], undefined);
    assert.equal((await client.post('[1]')).headers['set-cookie'], undefined);
    await client.none();
  });

  for (const header of ['DNT: 1', 'Sec-GPC: 1']) {
    cases.add(`${header}: a batch is validated and answered as usual, nothing is stored, no cookie`, async (client) => {
      const answer = await client.post([{ e: 'a' }, 5], { headers: [header] });
      assert.deepEqual([partly(answer).accepted, partly(answer).rejected], [1, 1]);
      assert.equal(answer.headers['set-cookie'], undefined);
      assertProblem(await client.post('{', { headers: [header] }), 400, 'INVALID_JSON');
      await client.none();
    });
  }
  cases.add(
    'DNT: 1 with DNT_MODE=anonymize keeps the event without ip, ua, uid and sid',
    async (client) => {
      const answer = await client.post(
        { e: 'x', uid: 'u', sid: 's', ua: 'a', p: 1 },
        { headers: ['DNT: 1', 'User-Agent: test', 'Cookie: sid=c'] },
      );
      assert.equal(answer.headers['set-cookie'], undefined);
      const event = await client.one();
      for (const key of ['ip', 'ua', 'uid', 'sid']) assert.ok(!(key in event), `${key} must be absent`);
      assert.deepEqual(event.props, { p: 1 });
    },
    { DNT_MODE: 'anonymize' },
  );

  cases.add('CORS on /collect: every page with credentials, its headers readable by scripts', async (client) => {
    const answer = await client.post({ e: 'x' }, { headers: ['Origin: https://page.example'] });
    assert.equal(answer.headers['access-control-allow-origin'], 'https://page.example');
    assert.equal(answer.headers['access-control-allow-credentials'], 'true');
    assert.equal(answer.headers['vary'], 'Origin');
    assert.match(answer.headers['access-control-expose-headers']!, /X-Gotrack-Accepted/);
    const bad = await client.post('{', { headers: ['Origin: https://page.example'] });
    assert.equal(bad.headers['access-control-allow-origin'], 'https://page.example', 'a script may read why');
    assert.equal(bad.headers['access-control-allow-credentials'], 'true');
    await client.recorded();
  });
  cases.add(
    'CORS on /collect with a list: its pages with credentials, foreign ones 403 and not stored',
    async (client) => {
      const own = await client.post({ e: 'own' }, { headers: ['Origin: https://page.example'] });
      assert.equal(own.status, 202);
      assert.equal(own.headers['access-control-allow-credentials'], 'true');
      const foreign = await client.post({ e: 'foreign' }, { headers: ['Origin: https://evil.example'] });
      assertProblem(foreign, 403, 'ORIGIN_FORBIDDEN');
      assert.equal(foreign.headers['access-control-allow-origin'], undefined);
      assert.deepEqual(
        (await client.recorded()).map((event) => event['e']),
        ['own'],
      );
    },
    { CORS_ORIGINS: 'https://page.example,https://other.example' },
  );
}
