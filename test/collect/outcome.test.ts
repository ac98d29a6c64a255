/** What a client sees of the engine's word: no room, a failed write, an answer that waits, a client that goes away meanwhile. */
import './head-limit.ts';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'vitest';
import { mendedKeys, rejectedReasons } from '../../src/collect/metrics.ts';
import type { Part } from '../../src/service/schemas.ts';
import { exchange, freePort, RawConnection, request, requestBytes, sendThenRead } from '../http/raw.ts';
import { assertProblem } from './contract.ts';
import { startRig } from './rig.ts';

const port = await freePort(21270);
const collect = { method: 'POST', headers: ['Content-Type: application/json'], body: '[{"e":"a"},{"e":"b"}]' };

test('without room a pixel is answered 429 with Retry-After and the GIF, a batch 429 with a problem; both are counted', async (t) => {
  const { lane, count } = await startRig(t, port);
  for (const reason of ['ring_full', 'journal_full', 'journal_stalled', 'sink_lag', 'write_failed'] as const) {
    lane.refuses = reason;
    const pixel = await request(port, '/px.gif');
    assert.equal(pixel.status, 429);
    assert.equal(pixel.headers['content-type'], 'image/gif');
    assert.equal(pixel.body.length, 43);
    assert.equal(pixel.headers['retry-after'], '1');
    assert.equal(pixel.headers['set-cookie'], undefined);
    assert.equal(pixel.headers['ringmain-ack'], undefined);
    const batch = await request(port, '/collect', collect);
    assert.equal(assertProblem(batch, 429, 'BACKPRESSURE')['reason'], reason);
    assert.equal(batch.headers['retry-after'], '1');
    assert.equal(count('ringmain_refused_events_total', { reason }), 2);
  }
  assert.equal(count('requests_total', { route: 'px', status: '429' }), 5);
  lane.refuses = undefined;
  assert.equal((await request(port, '/px.gif')).status, 200);
  assert.equal(lane.lines.length, 1, 'nothing that was refused may be stored');
});

// Goal: a body that finds no memory is one of the 429s that operators are warned and paged about: it may come again.
test('a body that finds no memory is answered 429 with Retry-After, and counts as refused, not as rejected', async (t) => {
  const { count } = await startRig(t, port, { env: { BODY_MEMORY_BYTES: '1MiB' } });
  const connection = await RawConnection.open(port);
  t.onTestFinished(() => connection.close());
  // It comes in pieces, and a buffer of more than half of the memory would have to be doubled.
  const whole = requestBytes('/collect', { method: 'POST', body: 'y'.repeat(1_000_000) });
  connection.send(whole.subarray(0, 600_000));
  const batch = (await connection.answer())!;
  assert.equal(assertProblem(batch, 429, 'BACKPRESSURE')['reason'], 'body_memory');
  assert.equal(batch.headers['retry-after'], '1');
  assert.equal(count('ringmain_refused_events_total', { reason: 'body_memory' }), 1);
  for (const reason of rejectedReasons) assert.equal(count('ringmain_rejected_total', { reason }), 0, reason);
});

// Goal: the refusal of a body that is still on its way is read by a client that sends all of it first.
test('a refused body passes by, and its client reads why', async (t) => {
  const { count, lane } = await startRig(t, port, { env: { MAX_BODY_BYTES: '1MiB' } });
  const json = 'Content-Type: application/json';
  const send = (headers: readonly string[], chunked: boolean) =>
    sendThenRead(port, { target: '/collect', mib: 12, chunked, headers });
  for (const [headers, chunked, status, code] of [
    [[json], true, 413, 'BODY_TOO_LARGE'],
    [[json], false, 413, 'BODY_TOO_LARGE'],
    [[json, 'Connection: close'], false, 413, 'BODY_TOO_LARGE'],
    [['Content-Type: text/html'], true, 415, 'UNSUPPORTED_MEDIA_TYPE'],
    [['Content-Type: text/html', 'Connection: close'], false, 415, 'UNSUPPORTED_MEDIA_TYPE'],
    [[json, 'Content-Encoding: zstd'], true, 415, 'UNSUPPORTED_ENCODING'],
  ] as const)
    assertProblem(await send(headers, chunked), status, code);
  assert.equal(count('ringmain_rejected_total', { reason: 'body_too_large' }), 3);
  // A request that was refused is used again for the next one.
  assert.equal((await request(port, '/collect', collect)).status, 202);
  assert.equal(lane.lines.length, 2);
});

test('when the journal has failed for good both are answered 503', async (t) => {
  const { lane } = await startRig(t, port);
  lane.refuses = 'journal_failed';
  assert.equal((await request(port, '/px.gif')).status, 503);
  assert.equal((await request(port, '/collect', collect)).status, 503);
});

test('a batch that does not fit is refused whole, after it was encoded as well as before', async (t) => {
  const { lane } = await startRig(t, port);
  // The first look finds room, the second, with the records in the draft, does not.
  let looks = 0;
  lane.refusal = () => (++looks % 2 === 0 ? 'ring_full' : undefined);
  assert.equal((await request(port, '/collect', collect)).status, 429);
  assert.equal((await request(port, '/px.gif')).status, 429);
  lane.refusal = () => undefined;
  await request(port, '/px.gif?e=after');
  assert.deepEqual(
    lane.lines.map((line) => JSON.parse(line).e),
    ['after'],
  );
});

test('a batch that does not fit behind other requests is tried again with an empty draft', async (t) => {
  const { lane } = await startRig(t, port);
  lane.mode = 'later';
  lane.draftBytesMax = 6000;
  const body = JSON.stringify([{ e: 'x', text: 'y'.repeat(3000) }]);
  const connections = await Promise.all([1, 2].map(() => RawConnection.open(port)));
  t.onTestFinished(() => connections.forEach((connection) => void connection.close()));
  for (const connection of connections) {
    connection.send(requestBytes('/collect', { method: 'POST', body }));
    await sleep(30);
  }
  lane.release('stored');
  for (const connection of connections) assert.equal((await connection.answer())?.status, 202);
  assert.equal(lane.lines.length, 2);
  const far = JSON.stringify([{ e: 'x', text: 'y'.repeat(9000) }]);
  const large = await request(port, '/collect', { method: 'POST', body: far });
  assertProblem(large, 413, 'BATCH_TOO_LARGE');
});

test('a write that failed is answered 503: nobody knows', async (t) => {
  const { lane, count } = await startRig(t, port);
  lane.mode = 'failed';
  const pixel = await request(port, '/px.gif');
  assert.equal(pixel.status, 503);
  assert.equal(pixel.headers['content-type'], 'image/gif');
  assert.equal(pixel.headers['retry-after'], '1');
  const batch = await request(port, '/collect', collect);
  assertProblem(batch, 503, 'WRITE_UNKNOWN');
  assert.equal(batch.headers['retry-after'], '1');
  assert.equal(count('ringmain_unanswered_events_total', { reason: 'unknown' }), 3);
});

test('no answer leaves before its outcome; then all leave, in their own form', async (t) => {
  const { lane, count } = await startRig(t, port, { env: { CORS_ORIGINS: 'https://page.example' } });
  lane.mode = 'later';
  const origin = 'Origin: https://page.example';
  const requests = [
    requestBytes('/px.gif', { headers: [origin] }),
    requestBytes('/px.gif', { method: 'HEAD' }),
    requestBytes('/collect', { ...collect, headers: [origin] }),
    requestBytes('/px.gif?sid=given'),
  ];
  for (const outcome of ['stored', 'unknown'] as const) {
    const connections = await Promise.all(requests.map(() => RawConnection.open(port)));
    connections.forEach((connection, i) => void connection.send(requests[i]!));
    while (lane.held.length < requests.length) await sleep(1);
    await sleep(20);
    for (const connection of connections) assert.equal(connection.rest, '', 'an answer left before its outcome');
    lane.release(outcome);
    const answers = await Promise.all(connections.map((connection, i) => connection.answer(5000, i === 1)));
    const statuses = outcome === 'stored' ? [200, 200, 202, 200] : [503, 503, 503, 503];
    assert.deepEqual(
      answers.map((answer) => answer?.status),
      statuses,
    );
    assert.equal(answers[0]!.headers['access-control-allow-origin'], 'https://page.example');
    assert.equal(answers[2]!.headers['access-control-allow-origin'], 'https://page.example');
    assert.equal(answers[0]!.headers['set-cookie'] !== undefined, outcome === 'stored');
    assert.equal(answers[2]!.headers['set-cookie'] !== undefined, outcome === 'stored');
    assert.equal(answers[3]!.headers['set-cookie'], undefined);
    // The connection goes on.
    lane.mode = 'now';
    connections[0]!.send(requestBytes('/px.gif'));
    assert.equal((await connections[0]!.answer())?.status, 200);
    lane.mode = 'later';
    for (const connection of connections) connection.close();
  }
  assert.equal(count('ringmain_unanswered_events_total', { reason: 'unknown' }), 5);
});

test('a client that goes away while its answer waits is counted, and its slot serves the next one', async (t) => {
  const { lane, count } = await startRig(t, port);
  lane.mode = 'later';
  for (let round = 0; round < 3; round++) {
    const gone = await Promise.all([RawConnection.open(port), RawConnection.open(port)]);
    gone[0]!.send(requestBytes('/px.gif'));
    gone[1]!.send(requestBytes('/collect', collect));
    while (lane.held.length < 2) await sleep(1);
    for (const connection of gone) connection.close();
    while (lane.dropped_ < 2 * (round + 1)) await sleep(1);
    lane.release(round === 2 ? 'unknown' : 'stored');
  }
  assert.equal(count('ringmain_unanswered_events_total', { reason: 'gone' }), 6);
  assert.equal(count('ringmain_unanswered_events_total', { reason: 'unknown' }), 3);
  const connection = await RawConnection.open(port);
  t.onTestFinished(() => connection.close());
  connection.send(requestBytes('/px.gif?e=next'));
  while (lane.held.length < 1) await sleep(1);
  lane.release('stored');
  assert.equal((await connection.answer())?.status, 200);
});

test('a pipelining client whose answer waits is closed without an answer, and the engine is told', async (t) => {
  const { lane } = await startRig(t, port);
  lane.mode = 'later';
  const bytes = Buffer.concat([requestBytes('/px.gif?e=1'), requestBytes('/px.gif?e=2')]);
  assert.equal(await exchange(port, bytes), undefined);
  assert.equal(lane.dropped_, 1);
  assert.equal(lane.held.length, 1, 'the second request must not have been read');
  lane.release('stored');
});

test('while the process drains each answer closes its connection', async (t) => {
  const { wire, lane } = await startRig(t, port);
  wire.closing = true;
  const targets: readonly (readonly [string, string])[] = [
    ['GET', '/px.gif'],
    ['HEAD', '/px.gif'],
    ['POST', '/collect'],
    ['OPTIONS', '/collect'],
    ['GET', '/readyz'],
    ['GET', '/nope'],
  ];
  for (const [method, target] of targets) {
    const connection = await RawConnection.open(port);
    connection.send(requestBytes(target, method === 'POST' ? collect : { method }));
    const answer = await connection.answer(5000, method === 'HEAD');
    assert.equal(answer?.headers['connection'], 'close', `${method} ${target}`);
    await connection.closed();
  }
  assert.equal(lane.lines.length, 4);
});

test('an exception in a handler costs one 500, leaves no half of a batch, and the next request works', async (t) => {
  const { lane, faults } = await startRig(t, port);
  const begin = lane.begin.bind(lane);
  let calls = 0;
  lane.begin = (bytes) => {
    if (++calls === 2) throw new Error('a bug');
    return begin(bytes);
  };
  const batch = await request(port, '/collect', collect);
  assertProblem(batch, 500, 'INTERNAL');
  assert.doesNotMatch(batch.text(), /a bug/);
  calls = 1;
  assert.equal((await request(port, '/px.gif')).status, 500);
  assert.equal(faults.length, 2);
  assert.equal((await request(port, '/px.gif?e=next')).status, 200);
  assert.deepEqual(
    lane.lines.map((line) => JSON.parse(line).e),
    ['next'],
  );
});

test('/readyz lists every part with its state and says what is missing; ?sinks=ignore judges intake alone', async (t) => {
  const sinks = [{ part: 'kafka', reason: 'not connected' }];
  const parts: Part[] = [
    { part: 'keeper', kind: 'keeper', state: 'up' },
    { part: 'kafka', kind: 'sink', state: 'down', reason: 'not connected' },
    { part: 'log', kind: 'sink', state: 'up' },
  ];
  await startRig(t, port, { ops: { readiness: () => parts } });
  const red = await request(port, '/readyz');
  assert.equal(red.status, 503);
  assert.deepEqual(red.json(), { status: 'not ready', missing: sinks, sinks, parts });
  const ignoring = await request(port, '/readyz?sinks=ignore');
  assert.equal(ignoring.status, 200);
  assert.deepEqual(ignoring.json(), { status: 'ready', missing: [], sinks, parts });
  parts.push({ part: 'journal, lane 0', kind: 'journal', state: 'down', reason: 'full' });
  assert.equal((await request(port, '/readyz?sinks=ignore')).status, 503);
  assert.equal((await request(port, '/healthz')).status, 200);
});

test('a /metrics that fails is answered 500, and the next one works', async (t) => {
  let fails = true;
  await startRig(t, port, { ops: { metrics: async () => (fails ? Promise.reject(new Error('board')) : 'x 1\n') } });
  assert.equal((await request(port, '/metrics')).status, 500);
  fails = false;
  assert.equal((await request(port, '/metrics')).text(), 'x 1\n');
});

test('requests, events, refusals, do-not-track and latency are counted under their names', async (t) => {
  const { count } = await startRig(t, port);
  await request(port, '/px.gif');
  await request(port, '/px.gif', { headers: ['DNT: 1'] });
  await request(port, '/collect', collect);
  await request(port, '/collect', { ...collect, headers: ['DNT: 1'] });
  await request(port, '/collect', { method: 'POST', body: '{' });
  await request(port, '/collect', { method: 'OPTIONS' });
  await request(port, '/nope');
  assert.equal(count('requests_total', { route: 'px', status: '2xx' }), 2);
  assert.equal(count('requests_total', { route: 'collect', status: '2xx' }), 2);
  assert.equal(count('requests_total', { route: 'collect', status: '4xx' }), 1);
  assert.equal(count('requests_total', { route: 'preflight', status: '2xx' }), 1);
  assert.equal(count('requests_total', { route: 'other', status: '4xx' }), 1);
  assert.equal(count('ringmain_accepted_events_total', { route: 'px' }), 1);
  assert.equal(count('ringmain_accepted_events_total', { route: 'collect' }), 2);
  assert.equal(count('ringmain_ignored_events_total', { reason: 'dnt' }), 3);
  assert.equal(count('ringmain_rejected_total', { reason: 'bad_json' }), 1);
  assert.equal(count('ingest_latency_seconds', { route: 'px' }), 1);
  assert.equal(count('ingest_latency_seconds', { route: 'collect' }), 1);
});

test('values of a wrong kind are counted by key, in recorded events only', async (t) => {
  const { count } = await startRig(t, port);
  const post = (body: unknown, headers: readonly string[] = []) =>
    request(port, '/collect', { method: 'POST', headers, body: JSON.stringify(body) });
  await post([{ uid: 1 }, { uid: 2, utm: { term: null } }, { uid: 'x', ts: '' }, { uid: 3, event_id: 'no' }]);
  await post({ props: [], event_id: null });
  await post({ uid: 4 }, ['DNT: 1']);
  await request(port, '/px.gif?ts=1764000000&event_id=no&uid=');
  await request(port, '/px.gif?ts=1764000000', { headers: ['DNT: 1'] });
  const mended = Object.fromEntries(mendedKeys.map((key) => [key, count('ringmain_mended_total', { key })]));
  assert.deepEqual(mended, {
    ...{ event_id: 2, ts: 2, e: 0, uid: 2, sid: 0 },
    ...{ url: 0, ref: 0, ua: 0, utm: 1, props: 1 },
  });
});
