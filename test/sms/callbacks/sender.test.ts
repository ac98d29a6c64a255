import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import type { LookupAddress, lookup } from 'node:dns';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { callbackUrlProblem } from '../../../src/sms/callbacks/callback-url.ts';
import { isPublicAddress } from '../../../src/sms/callbacks/public-address.ts';
import { CallbackSender, type SenderOptions } from '../../../src/sms/callbacks/sender.ts';
import type { TestScope } from '../../servers/process.ts';

const NOW_S = 1_800_000_000;
const never = new AbortController().signal;

interface Receiver {
  readonly port: number;
  readonly requests: { readonly url: string; readonly body: string; readonly headers: IncomingMessage['headers'] }[];
}

async function receiver(t: TestScope, answer: (response: ServerResponse) => void = (r) => r.end()): Promise<Receiver> {
  const requests: Receiver['requests'] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request as AsyncIterable<Buffer>) body += part.toString();
    requests.push({ url: request.url!, body, headers: request.headers });
    answer(response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, requests };
}

function senderOf(t: TestScope, more: Partial<SenderOptions> = {}): CallbackSender {
  const sender = new CallbackSender({ allowPrivate: true, timeoutMs: 10_000, now: () => NOW_S * 1000, ...more });
  t.onTestFinished(() => sender.close());
  return sender;
}

const to = (url: string) => ({ id: 'm1-7', url, body: Buffer.from('{"status":"sent"}'), secret: 'whsec_ü' });

/** A resolver that gives these addresses, one list after the other. */
function resolver(...answers: readonly (readonly string[])[]) {
  let at = 0;
  const asked: string[] = [];
  const find = ((name: string, _: object, found: (error: null, addresses: LookupAddress[]) => void) => {
    asked.push(name);
    const addresses = answers[Math.min(at++, answers.length - 1)]!;
    found(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
  }) as unknown as typeof lookup;
  return { find, asked };
}

test('a callback is signed over its time and its body, and says which one it is', async (t) => {
  const { port, requests } = await receiver(t);
  assert.equal(await senderOf(t).send(to(`http://127.0.0.1:${port}/hook?shop=1`), never), undefined);
  const [{ url, body, headers }] = requests as [Receiver['requests'][number]];
  assert.deepEqual([url, body], ['/hook?shop=1', '{"status":"sent"}']);
  const mac = createHmac('sha256', 'whsec_ü').update(`${NOW_S}.${body}`).digest('hex');
  assert.equal(headers['ringmain-signature'], `t=${NOW_S},v1=${mac}`);
  assert.equal(headers['idempotency-key'], 'm1-7');
  assert.equal(headers['content-type'], 'application/json');
});

test('only 2xx is delivered; a redirect is followed nowhere', async (t) => {
  const other = await receiver(t);
  for (const status of [301, 302, 307, 400, 404, 410, 500, 503]) {
    const { port } = await receiver(t, (response) => {
      response.writeHead(status, { location: `http://127.0.0.1:${other.port}/` }).end();
    });
    assert.equal(await senderOf(t).send(to(`http://127.0.0.1:${port}/`), never), `status ${status}`);
  }
  assert.equal(other.requests.length, 0);
});

test('a receiver that is silent, endless, or not there costs a bounded time', async (t) => {
  const silent = await receiver(t, () => undefined);
  const brief = senderOf(t, { timeoutMs: 500 });
  assert.equal(await brief.send(to(`http://127.0.0.1:${silent.port}/`), never), 'no answer within 500 ms');
  const endless = await receiver(t, (response) => {
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      if (!response.destroyed) response.once('drain', more);
    };
    more();
  });
  const begin = performance.now();
  assert.equal(await senderOf(t).send(to(`http://127.0.0.1:${endless.port}/`), never), undefined);
  assert.ok(performance.now() - begin < 5000);
  assert.equal(await senderOf(t).send(to('http://127.0.0.1:1/'), never), 'ECONNREFUSED');
  assert.match((await senderOf(t).send(to('ftp://127.0.0.1/'), never))!, /neither http nor https/);
});

const refusal = 'the address is not public, and CALLBACK_ALLOW_PRIVATE is off';

test.for([
  'http://127.0.0.1:PORT/',
  'http://127.1:PORT/',
  'http://2130706433:PORT/',
  'http://0x7f000001:PORT/',
  'http://0177.0.0.1:PORT/',
  'http://[::ffff:127.0.0.1]:PORT/',
  'http://[::1]:PORT/',
  'http://169.254.169.254/latest/meta-data',
  'http://localhost:PORT/',
  'http://0.0.0.0:PORT/',
])('%s is not reached', async (url, t) => {
  const { port, requests } = await receiver(t);
  const sender = senderOf(t, { allowPrivate: false });
  assert.equal(await sender.send(to(url.replace('PORT', String(port))), never), refusal);
  assert.equal(requests.length, 0);
});

test('a name is judged by all its addresses, and connected to as it was judged', async (t) => {
  const { port, requests } = await receiver(t);
  const mixed = resolver(['93.184.216.34', '127.0.0.1']);
  const strict = senderOf(t, { allowPrivate: false, lookup: mixed.find });
  assert.equal(await strict.send(to(`http://hook.example:${port}/`), never), refusal);
  // DNS rebinding: the first answer is public, every later one is not. Nobody asks twice for one connection.
  const rebinding = resolver(['192.0.0.8'], ['127.0.0.1']);
  const other = senderOf(t, { allowPrivate: false, lookup: rebinding.find });
  assert.equal(await other.send(to(`http://hook.example:${port}/`), never), refusal);
  assert.equal(rebinding.asked.length, 1);
  assert.equal(
    await other.send(to(`http://hook.example:${port}/`), never),
    refusal,
    'a new connection is judged again',
  );
  assert.equal(requests.length, 0);
  const allowed = senderOf(t, { lookup: resolver(['127.0.0.1']).find });
  assert.equal(await allowed.send(to(`http://hook.example:${port}/`), never), undefined);
  assert.equal(requests[0]!.headers.host, `hook.example:${port}`);
});

test('a public address is connected to, exactly the one that was judged', async (t) => {
  const found = resolver(['203.0.114.1'], ['127.0.0.1']);
  const sender = senderOf(t, { allowPrivate: false, lookup: found.find, timeoutMs: 200 });
  const { port, requests } = await receiver(t);
  const said = await sender.send(to(`http://hook.example:${port}/`), never);
  assert.notEqual(said, refusal);
  assert.notEqual(said, undefined);
  assert.equal(found.asked.length, 1);
  assert.equal(requests.length, 0);
});

test('public addresses are told from all others', () => {
  const open = [
    '8.8.8.8',
    '1.1.1.1',
    '100.63.255.255',
    '172.15.0.1',
    '172.32.0.1',
    '2606:4700::1111',
    '::ffff:8.8.8.8',
  ];
  const shut = [
    '10.1.2.3',
    '100.64.0.1',
    '127.0.0.53',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '192.0.2.1',
    '198.18.0.1',
    '203.0.113.9',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '0.1.2.3',
    '::',
    '::1',
    'fe80::1',
    'fd00::1',
    'ff02::1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '2001:0:1::1',
    '2001:db8::1',
    '::ffff:10.0.0.1',
    '::127.0.0.1',
    'hook.example',
    '',
  ]; // prettier-ignore
  assert.deepEqual(
    open.filter((address) => !isPublicAddress(address)),
    [],
  );
  assert.deepEqual(shut.filter(isPublicAddress), []);
});

test('URLs that nobody could call back are refused when the message is accepted', () => {
  assert.equal(callbackUrlProblem('https://shop.example/hook?x=1'), undefined);
  for (const url of ['shop.example', 'ftp://x/', 'https://u:p@x/', 'https://x/#a', `https://x/${'a'.repeat(2048)}`])
    expect(callbackUrlProblem(url)).toMatch(/^callback_url must be/);
});
