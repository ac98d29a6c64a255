/** POST /events over HTTP: its bodies, and that everything else is what /collect answers. */
import '../../collect/head-limit.ts';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { assertProblem } from '../../collect/contract.ts';
import { freePort, RawConnection, type RequestOptions, request, requestBytes } from '../../http/raw.ts';
import { type RigOptions, startRig as start } from './rig.ts';

const port = await freePort(21380);
const DAY = 86_400_000;
const TODAY = 20_777;
const noon = TODAY * DAY + DAY / 2;
const startRig = (t: Parameters<typeof start>[0], options: Partial<RigOptions> = {}) =>
  start(t, port, { now: () => noon, saltDays: [TODAY], ...options });

const json = ['Content-Type: application/json'];
const good = { site_id: 's', event_type: 'page_view', path: '/home', user_id: 'u' };
const post = (body: unknown, options: RequestOptions = {}) =>
  request(port, '/events', {
    method: 'POST',
    headers: json,
    ...options,
    body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
  });

test("the document's own request: curl, Postman and PowerShell send it, and nobody is a bot", async (t) => {
  const rig = await startRig(t);
  const body = `{
  "site_id": "site-abc-123",
  "event_type": "page_view",
  "path": "/home",
  "user_id": "user-001",
  "timestamp": "2025-11-15T05:00:00Z"
}
`;
  for (const agent of [
    'curl/8.5.0',
    'PostmanRuntime/7.43.0',
    'Mozilla/5.0 (Windows NT; Windows NT 10.0) WindowsPowerShell/5.1',
  ]) {
    const answer = await post(body, { headers: [...json, `User-Agent: ${agent}`] });
    assert.equal(answer.status, 202);
    assert.equal(answer.text(), '{"message":"Event accepted"}');
    assert.equal(answer.headers['content-type'], 'application/json');
    assert.match(answer.headers['ringmain-ack']!, /^(memory|journal|sync)$/);
    assert.equal(answer.headers['set-cookie'], undefined);
    assert.equal(answer.headers['x-gotrack-accepted'], undefined);
  }
  const events = rig.events();
  assert.equal(events.length, 3);
  for (const event of events) {
    expect(event).toMatchObject({ ...JSON.parse(body), timestamp: '2025-11-15T05:00:00.000Z', via: 'events' });
    assert.equal(event['bot'], undefined);
  }
});

const bodies: readonly [what: string, body: unknown, status: number, text: string | RegExp, stored: number][] = [
  ['one event', good, 202, '{"message":"Event accepted"}', 1],
  ['an array of one', [good], 202, '{"message":"Events accepted","accepted":1}', 1],
  ['an array', [good, good, good], 202, '{"message":"Events accepted","accepted":3}', 3],
  ['an empty array', [], 202, '{"message":"Events accepted","accepted":0}', 0],
  [
    'good and bad items',
    [good, { site_id: 's' }, { ...good, timestamp: 'x', event_id: '018f3c1e-7b2a-7cc0-9d1e-3a5b7c9d1e2f' }, 7],
    202,
    '{"message":"Events accepted","accepted":1,"rejected":3,"errors":[' +
      '{"index":1,"code":"INVALID_EVENT","message":"event_type must be 1 to 50 characters: found=none"},' +
      '{"index":2,"event_id":"018f3c1e-7b2a-7cc0-9d1e-3a5b7c9d1e2f","code":"INVALID_EVENT",' +
      '"message":"timestamp must be an RFC 3339 time from year 1 on: found=\\"x\\""},' +
      '{"index":3,"code":"INVALID_EVENT","message":"event must be an object: found=a number"}]}',
    1,
  ],
  ['one bad event', { ...good, site_id: '' }, 400, /"code":"NO_VALID_EVENT".*"errors":\[\{"index":0/, 0],
  ['bad items alone', [1, {}], 400, /rejected=2.*"errors":\[\{"index":0.*"index":1/, 0],
  ['an envelope, which is none here', { events: [good] }, 400, /"code":"NO_VALID_EVENT"/, 0],
  ['a scalar', '5', 400, /"code":"INVALID_BODY"/, 0],
  ['no JSON', '{"site_id":"s",}', 400, /"code":"INVALID_JSON".*"offset":15/, 0],
  ['JSON that ends too early', `[${JSON.stringify(good)}`, 400, /"code":"INVALID_JSON"/, 0],
  [
    'an event that is too large',
    { ...good, props: Object.fromEntries([...'abcdefgh'].map((key) => [key, 'x'.repeat(400)])) },
    413,
    /"code":"EVENT_TOO_LARGE"/,
    0,
  ],
  ['a body that is too large', ' '.repeat(20_001), 413, /"code":"BODY_TOO_LARGE"/, 0],
];
for (const [what, body, status, text, stored] of bodies) {
  test(`body: ${what}`, async (t) => {
    const rig = await startRig(t, { env: { MAX_BODY_BYTES: '20000', MAX_EVENT_BYTES: '2048' } });
    const answer = await post(body);
    assert.equal(answer.status, status, answer.text());
    if (typeof text === 'string') assert.equal(answer.text(), text);
    else assert.match(answer.text(), text);
    assert.equal(rig.events().length, stored);
    assert.equal(answer.headers['ringmain-ack'] !== undefined, stored > 0);
  });
}

test('content types and encodings are those of /collect; sendBeacon sends text/plain', async (t) => {
  const rig = await startRig(t);
  for (const type of ['application/json', 'Application/JSON; charset=utf-8', 'text/plain;charset=UTF-8', '']) {
    assert.equal((await post(good, { headers: type === '' ? [] : [`Content-Type: ${type}`] })).status, 202, type);
  }
  assertProblem(await post(good, { headers: ['Content-Type: text/html'] }), 415, 'UNSUPPORTED_MEDIA_TYPE');
  const bytes = JSON.stringify(good);
  for (const [encoding, body] of [
    ['gzip', gzipSync(bytes)],
    ['deflate', deflateSync(bytes)],
    ['br', brotliCompressSync(bytes)],
  ] as const) {
    assert.equal((await post(body, { headers: [...json, `Content-Encoding: ${encoding}`] })).status, 202, encoding);
  }
  assertProblem(await post(good, { headers: [...json, 'Content-Encoding: zstd'] }), 415, 'UNSUPPORTED_ENCODING');
  assert.equal(rig.events().length, 7);
});

test('pages of other origins: echoed with *, refused by a list; other methods are 405', async (t) => {
  const origin = 'Origin: https://page.example';
  const open = await startRig(t);
  const answer = await post(good, { headers: [...json, origin] });
  assert.equal(answer.headers['access-control-allow-origin'], 'https://page.example');
  assert.equal(answer.headers['access-control-expose-headers'], 'Ringmain-Ack, Retry-After');
  const preflight = await request(port, '/events', {
    method: 'OPTIONS',
    headers: [origin, 'Access-Control-Request-Method: POST'],
  });
  assert.equal(preflight.status, 204);
  assert.match(preflight.headers['access-control-allow-methods']!, /POST/);
  const get = await request(port, '/events');
  assertProblem(get, 405, 'METHOD_NOT_ALLOWED');
  assert.match(get.headers['allow']!, /^POST/);
  assert.equal(open.events().length, 1);
});

test('a list of origins refuses the others', async (t) => {
  const rig = await startRig(t, { env: { CORS_ORIGINS: 'https://mine.example' } });
  assert.equal((await post(good, { headers: [...json, 'Origin: https://mine.example'] })).status, 202);
  assertProblem(await post(good, { headers: [...json, 'Origin: https://page.example'] }), 403, 'ORIGIN_FORBIDDEN');
  assert.equal((await post(good)).status, 202, 'a server has no origin');
  assert.equal(rig.events().length, 2);
});

test('a grant refuses sites: all items 403, some beside the others', async (t) => {
  const refusal = () => ({ code: 'KEY_FORBIDDEN', message: 'another site' }) as const;
  const rig = await startRig(t, {
    grant: { admits: (site) => site === 's', refusal, retentionDays: () => Number.POSITIVE_INFINITY },
  });
  const other = { ...good, site_id: 'other' };
  assertProblem(await post(other), 403, 'KEY_FORBIDDEN');
  assertProblem(await post([other, other]), 403, 'KEY_FORBIDDEN');
  const some = (await post([good, other])).json() as { accepted: number; errors: { code: string }[] };
  assert.deepEqual([some.accepted, some.errors[0]!.code], [1, 'KEY_FORBIDDEN']);
  assert.equal(rig.events().length, 1);
});

test('no room is 429 with Retry-After, a journal that has failed 503, a failed write 503', async (t) => {
  const { lane, count } = await startRig(t);
  for (const reason of ['ring_full', 'journal_full', 'journal_stalled', 'sink_lag', 'write_failed'] as const) {
    lane.refuses = reason;
    const answer = await post([good]);
    assert.equal(assertProblem(answer, 429, 'BACKPRESSURE')['reason'], reason);
    assert.equal(answer.headers['retry-after'], '1');
    assert.equal(count('ringmain_refused_events_total', { reason }), 1);
  }
  lane.refuses = 'journal_failed';
  assert.equal((await post(good)).status, 503);
  lane.refuses = undefined;
  lane.mode = 'failed';
  const unknown = await post([good, good]);
  assertProblem(unknown, 503, 'WRITE_UNKNOWN');
  assert.equal(unknown.headers['retry-after'], '1');
  assert.equal(count('ringmain_unanswered_events_total', { reason: 'unknown' }), 2);
  assert.equal(lane.lines.length, 0);
});

test('an answer waits for its outcome; a client that has gone meanwhile is counted', async (t) => {
  const { lane, count } = await startRig(t);
  lane.mode = 'later';
  const bytes = requestBytes('/events', { method: 'POST', headers: json, body: JSON.stringify(good) });
  const [waiting, gone] = await Promise.all([RawConnection.open(port), RawConnection.open(port)]);
  t.onTestFinished(() => void waiting!.close());
  waiting!.send(bytes);
  gone!.send(bytes);
  await expect.poll(() => lane.held.length).toBe(2);
  assert.equal(waiting!.rest, '', 'an answer left before its outcome');
  gone!.close();
  await expect.poll(() => lane.dropped_).toBe(1);
  lane.release('stored');
  assert.equal((await waiting!.answer())!.text(), '{"message":"Event accepted"}');
  assert.equal(count('ringmain_unanswered_events_total', { reason: 'gone' }), 1);
  assert.equal(count('ringmain_accepted_events_total', { route: 'events' }), 1);
  assert.equal(lane.lines.length, 2);
});

test('a client that goes away in the middle of its body leaves nothing', async (t) => {
  const { lane, faults } = await startRig(t);
  const bytes = requestBytes('/events', { method: 'POST', headers: json, body: JSON.stringify(good) });
  const connection = await RawConnection.open(port);
  connection.send(bytes.subarray(0, bytes.length - 10));
  await sleep(20);
  connection.close();
  assert.equal((await post(good)).status, 202);
  assert.deepEqual([lane.lines.length, faults], [1, []]);
});

test('do not track: answered as usual and not stored, or stored as nobody', async (t) => {
  const rig = await startRig(t);
  for (const header of ['DNT: 1', 'Sec-GPC: 1']) {
    assert.equal((await post(good, { headers: [...json, header] })).text(), '{"message":"Event accepted"}');
    const answer = await post([good, 7], { headers: [...json, header] });
    expect(answer.json()).toMatchObject({ accepted: 1, rejected: 1 });
    assert.equal(answer.headers['ringmain-ack'], undefined);
  }
  assert.equal(rig.events().length, 0);
  assert.equal(rig.count('ringmain_ignored_events_total', { reason: 'dnt' }), 4);
});

test('DNT_MODE=anonymize stores the event as nobody', async (t) => {
  const rig = await startRig(t, { env: { DNT_MODE: 'anonymize' } });
  await post(good, { headers: [...json, 'DNT: 1'] });
  const [event] = rig.events();
  assert.deepEqual([event!['user_id'], event!['visitor'], event!['path']], [undefined, undefined, '/home']);
});

test('events, rejected items and mended keys are counted under their names', async (t) => {
  const { count } = await startRig(t);
  await post([
    good,
    { ...good, path: 5, props: { a: null } },
    { ...good, path: true, utm_source: [] },
    { ...good, path: 1, event_id: 'no' },
  ]);
  await post('{');
  await post(good);
  assert.equal(count('ringmain_accepted_events_total', { route: 'events' }), 4);
  assert.equal(count('ringmain_rejected_total', { reason: 'bad_event' }), 1);
  assert.equal(count('ringmain_rejected_total', { reason: 'bad_json' }), 1);
  assert.equal(count('requests_total', { route: 'events', status: '2xx' }), 2);
  assert.equal(count('requests_total', { route: 'events', status: '4xx' }), 1);
  assert.equal(count('ingest_latency_seconds', { route: 'events' }), 2);
  const mended = ['path', 'props', 'utm_source', 'event_id', 'user_id'].map((key) =>
    count('ringmain_mended_total', { key }),
  );
  assert.deepEqual(mended, [2, 1, 1, 0, 0]);
});
