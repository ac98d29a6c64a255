/**
 * Goal: whatever bytes come, a 2xx that promises an event means exactly one valid line, anything else means none; the server lives and the
 * next request works.
 * Method: rounds of random requests (queries, cookies, headers, bodies, framing, damage at any byte) against the real process. What was
 * promised is summed up from the answers (Ringmain-Ack, X-Gotrack-Accepted), and compared with the lines that came. A round that does
 * not add up is played again one by one, so that the request itself is named. Seeds are printed: SEED=n plays one again.
 * Three servers: answers in the handler, answers gathered (DEFER_RATE=0), answers after the sync. The addon closes a connection whose next
 * request comes while an answer waits; so with the latter two a request of which damage has made two may be recorded and see no answer:
 * never the other way round.
 * Short by default; LONG=1 goes on for 20 minutes.
 */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { test } from 'vitest';
import { Client, type Options } from '../collect/contract.ts';
import { Random } from '../collect/random.ts';
import { RawConnection } from '../http/raw.ts';
import { startSmall } from './small-collector.ts';

const LONG_MS = 20 * 60_000;
const SHORT_MS = 15_000;
const ROUND = 100;
const QUIET_MS = 60;

const words = [
  'e',
  'uid',
  'sid',
  'url',
  'ref',
  'ts',
  'event_id',
  'utm_source',
  'utm_',
  '__proto__',
  'ip',
  'geo',
  'props',
  'device',
  'é',
  '',
  'x',
];
const snippets = [
  '%',
  '%0',
  '%00',
  '%C3%A9',
  '%ff',
  '%ED%A0%80',
  '+',
  '&',
  '=',
  '#',
  '?',
  ';',
  '"',
  '\\',
  '<',
  '\u00e9',
  '%2541',
  '2026-11-21T08:00:00Z',
  '018f3c1e-7b2a-7cc0-9d1e-3a5b7c9d1e2f',
  'https://a.example/?utm_source=x&utm_medium=%zz',
  '[]',
  '{}',
  'a'.repeat(300),
];

function query(random: Random): string {
  const pairs = Array.from({ length: random.below(8) }, () => {
    const value = Array.from({ length: random.below(4) }, () => random.pick(snippets)).join('');
    return random.below(4) === 0 ? random.text(random.below(20)) : `${random.pick(words)}=${value}`;
  });
  // A space or a control byte would end the target; those are for the damage below.
  return pairs.join('&').replaceAll(/[\0-\x20\x7f]/g, '.');
}

function headers(random: Random): string {
  const all = [
    () => `User-Agent: ${random.text(random.below(80))}`,
    () => `Referer: https://a.example/?${query(random)}`,
    () =>
      `Cookie: ${random.pick(['sid', 'a', 'xsid', ''])}=${random.text(random.below(40))}; sid=${random.pick(['s_1', '"', '', 'é', 'x'.repeat(200)])}`,
    () => `X-Forwarded-For: ${random.pick(['1.2.3.4', 'x', '::1', '1.2.3.4, 5.6.7.8', ',,,', '999.1.1.1'])}`,
    () => `DNT: ${random.pick(['0', '1', 'x'])}`,
    () => `Sec-GPC: ${random.pick(['0', '1'])}`,
    () => `Origin: ${random.pick(['null', 'https://a.example', 'x'])}`,
    () => `${random.pick(['Accept', 'If-None-Match', 'Range', 'X-Odd'])}: ${random.text(random.below(60))}`,
    () => `Connection: ${random.pick(['close', 'keep-alive', 'upgrade'])}`,
  ];
  const lines = Array.from({ length: random.below(6) }, () => random.pick(all)());
  return lines.map((line) => `${line.replaceAll(/[\0-\x1f\x7f]/g, '.')}\r\n`).join('');
}

function json(random: Random, depth = 0): string {
  const kind = random.below(depth > 4 ? 5 : 8);
  if (kind === 0)
    return random.pick(['0', '-1', '1e9', '123456789012345678901', '0.5', '-0', '1E-7', '01', '1.', '+1', 'NaN']);
  if (kind === 1) return random.pick(['true', 'false', 'null', 'nul', 'True']);
  if (kind < 5)
    return `"${Array.from({ length: random.below(4) }, () => random.pick(['a', '\\u00e9', '\\ud800', '\\ud83d\\ude00', '\\n', '\\"', '\\x', 'é', '\u2028', '2026-11-21T08:00:00+02:00', '018f3c1e-7b2a-7cc0-9d1e-3a5b7c9d1e2f', random.text(5)])).join('')}"`;
  const space = random.pick(['', ' ', '\n', '\t']);
  const items = Array.from({ length: random.below(5) }, () => json(random, depth + 1));
  if (kind === 5) return `[${items.join(`${space},`)}${space}]`;
  return `{${items.map((item) => `"${random.pick(words)}"${space}:${item}`).join(`,${space}`)}}`;
}

interface Shot {
  readonly bytes: Buffer;
  /** Promises are only counted for requests that are not damaged on the wire: a damaged one may hold several. */
  readonly what: string;
}

function shot(random: Random): Shot {
  const kind = random.below(10);
  let bytes: Buffer;
  let what: string;
  if (kind < 4) {
    bytes = Buffer.from(
      `${random.pick(['GET', 'GET', 'HEAD'])} /px.gif?${query(random)} HTTP/1.1\r\nHost: t\r\n${headers(random)}\r\n`,
    );
    what = 'pixel';
  } else {
    const text =
      random.below(3) === 0
        ? `[${Array.from({ length: random.below(6) }, () => json(random)).join(',')}]`
        : json(random);
    let body = Buffer.from(text);
    if (random.below(4) === 0 && body.length > 0) body[random.below(body.length)] = random.below(256);
    const packed = random.below(5) === 0;
    if (packed) body = Buffer.from(gzipSync(body));
    if (packed && random.below(3) === 0) body[random.below(body.length)]! ^= 1 << random.below(8);
    const type = random.pick([
      'Content-Type: application/json\r\n',
      '',
      'Content-Type: text/plain\r\n',
      'Content-Type: x\r\n',
    ]);
    const framed =
      random.below(4) === 0
        ? Buffer.concat([Buffer.from('Transfer-Encoding: chunked\r\n\r\n'), ...chunks(random, body)])
        : Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body]);
    const head = `POST /collect HTTP/1.1\r\nHost: t\r\n${type}${packed ? 'Content-Encoding: gzip\r\n' : ''}${headers(random)}`;
    bytes = Buffer.concat([Buffer.from(head), framed]);
    what = 'collect';
  }
  if (random.below(5) === 0) {
    const at = random.below(bytes.length);
    if (random.below(2) === 0)
      bytes = Buffer.concat([
        bytes.subarray(0, at),
        random.bytes(random.below(3)),
        bytes.subarray(at + random.below(3)),
      ]);
    else bytes[at] = random.below(256);
    what += ', damaged';
  }
  return { bytes, what };
}

function chunks(random: Random, body: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length; ) {
    const size = Math.min(body.length - at, 1 + random.below(30));
    parts.push(Buffer.from(`${size.toString(16)}\r\n`), body.subarray(at, at + size), Buffer.from('\r\n'));
    at += size;
  }
  return [...parts, Buffer.from('0\r\n\r\n')];
}

interface Promised {
  readonly events: number;
  /** The connection ended, and not by an answer. */
  readonly cut: boolean;
}

/** Fires one request in one or two writes, ends the client's side, and returns what was promised by all answers that came. */
async function fire(port: number, { bytes }: Shot, random: Random): Promise<Promised> {
  const connection = await RawConnection.open(port);
  try {
    const cut = random.below(3) === 0 ? random.below(bytes.length) : 0;
    if (cut > 0) {
      connection.send(bytes.subarray(0, cut));
      await new Promise(setImmediate);
    }
    connection.send(bytes.subarray(cut));
    const head = bytes.subarray(0, 4).toString('latin1') === 'HEAD';
    let promised = 0;
    // What is incomplete would wait for its rest: the end of the client's side says that there is none.
    let answer = await connection.answer(QUIET_MS, head).catch(() => {
      connection.socket.end();
      return connection.answer(15_000, head);
    });
    while (answer !== undefined) {
      if (answer.headers['ringmain-ack'] !== undefined) promised += Number(answer.headers['x-gotrack-accepted'] ?? 1);
      assert.ok(answer.status !== 500, `a request met a defect: ${answer.text()}`);
      if (connection.rest === '') break;
      answer = await connection.answer(QUIET_MS, head).catch(() => undefined);
    }
    return { events: promised, cut: answer === undefined && connection.ended };
  } finally {
    connection.close();
  }
}

const keys = ['event_id', 'ts', 'e', 'uid', 'sid', 'url', 'ref', 'ua', 'ip', 'utm', 'geo', 'props'];

/** What each line must be, whatever was sent. */
function checkLine(event: Readonly<Record<string, unknown>>): void {
  const found = Object.keys(event);
  assert.deepEqual(
    found,
    keys.filter((key) => found.includes(key)),
    'keys of the model, in its order',
  );
  assert.match(String(event['event_id']), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.match(String(event['ts']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  for (const key of ['e', 'uid', 'sid', 'url', 'ref', 'ua', 'ip']) {
    if (key in event) assert.ok(typeof event[key] === 'string' && event[key] !== '', key);
  }
  for (const key of ['utm', 'geo', 'props']) if (key in event) assert.equal(typeof event[key], 'object', key);
}

const modes: readonly (readonly [name: string, options: Options, waits: boolean])[] = [
  ['answers in the handler', {}, false],
  ['answers gathered', { DEFER_RATE: '0', DEFER_HOLD_MS: '0' }, true],
  ['answers after the sync', { ACK: 'sync' }, true],
];
for (const [name, options, waits] of modes) {
  test(`random requests, ${name}: each promise is one valid line, anything else is none, and the server lives`, async (t) => {
    const server = await startSmall(t, 21236, { TRUST_PROXY: 'true', ...options });
    const client = new Client(server);
    const only = process.env['SEED'] ? Number(process.env['SEED']) : undefined;
    const end = performance.now() + (process.env['LONG'] === '1' ? LONG_MS : SHORT_MS) / modes.length;
    let seed = only ?? Date.now() % 2 ** 31;
    t.annotate(`seed=${seed}`);
    let requests = 0;
    let promisedAll = 0;
    do {
      const random = new Random(seed);
      const shots = Array.from({ length: ROUND }, () => shot(random));
      const fired: Promised[] = [];
      for (let at = 0; at < shots.length; at += 10) {
        fired.push(...(await Promise.all(shots.slice(at, at + 10).map((one) => fire(server.port, one, random)))));
      }
      const promised = fired.reduce((sum, { events }) => sum + events, 0);
      const events = await client.recorded();
      for (const event of events) checkLine(event);
      const mayHold = waits && fired.some(({ cut }) => cut) ? events.length >= promised : events.length === promised;
      if (!mayHold) await nameTheRequest(client, shots, random, seed);
      requests += shots.length;
      promisedAll += promised;
      seed += 1;
    } while (only === undefined && performance.now() < end);
    assert.ok(server.running, server.log);
    assert.ok(
      promisedAll > requests / 10,
      `too few requests were good to mean anything: ${promisedAll} of ${requests}`,
    );
    t.annotate(`${requests} requests, ${promisedAll} events, seeds up to ${seed - 1}`);
  });
}

async function nameTheRequest(client: Client, shots: readonly Shot[], random: Random, seed: number): Promise<void> {
  for (const one of shots) {
    const { events } = await fire(client.port, one, random);
    const recorded = (await client.recorded()).length;
    const bytes = JSON.stringify(one.bytes.toString('latin1'));
    assert.equal(recorded, events, `seed=${seed}, ${one.what}: recorded and promised differ for ${bytes}`);
  }
  assert.fail(`seed=${seed}: recorded and promised differ for the round, but for none of its requests alone`);
}
