import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { referenceOf } from '../../../src/sms/message/reference.ts';
import type { Receipt } from '../../../src/sms/operators/contract.ts';
import { type GivenOperator, parseOperators } from '../../../src/sms/operators/operator-option.ts';
import { SmppOperator } from '../../../src/sms/operators/smpp/driver.ts';
import { readReceipt } from '../../../src/sms/operators/smpp/receipt.ts';
import type { TestScope } from '../../servers/process.ts';
import { type SmscBehaviour, startSmsc } from '../../servers/smsc.ts';
import { message, never } from './messages.ts';

interface Bound {
  readonly driver: SmppOperator;
  readonly receipts: Receipt[];
  readonly told: (string | undefined)[];
  strays: number;
  /** What a receipt gets. */
  receive: () => Promise<'recorded' | 'unknown'>;
}

function driverOf(t: TestScope, url: string, more: Partial<GivenOperator> = {}): Bound {
  const [given] = parseOperators([
    { name: 'mci', driver: 'smpp', url, system_id: 'ringmain', password: 'secret', timeout_ms: 20_000, ...more },
  ]);
  const receipts: Receipt[] = [];
  const told: (string | undefined)[] = [];
  const bound: Omit<Bound, 'driver'> = { receipts, told, strays: 0, receive: async () => 'recorded' };
  const driver = new SmppOperator(given!, {
    receive: (receipt) => {
      receipts.push(receipt);
      return bound.receive();
    },
    told: (away) => void told.push(away),
    stray: () => {
      bound.strays += 1;
    },
  });
  t.onTestFinished(() => driver.close());
  return Object.assign(bound, { driver });
}

async function bindTo(t: TestScope, url: string, more: Partial<GivenOperator> = {}): Promise<Bound> {
  const bound = driverOf(t, url, more);
  await expect.poll(() => bound.driver.state()).toBe('up');
  return bound;
}

test('a message arrives with its number, sender, text, validity and priority', async (t) => {
  const smsc = await startSmsc(t, { systemId: 'ringmain', password: 'secret' });
  const { driver } = await bindTo(t, smsc.url, { sender: '98200' });
  const text = 'Ünï€ {5} @£';
  assert.deepEqual(await driver.send(message('m1', { text: 'a€{@£' }), never), { kind: 'taken', id: 'smsc-1' });
  await driver.send(message('m2', { text: `${text} ا`, sender: 'Shop', lane: 'express' }), never);
  const [first, second] = smsc.taken;
  assert.deepEqual([first!.from, first!.to, first!.text, first!.dataCoding], ['98200', '989121234567', 'a€{@£', 0]);
  assert.deepEqual([second!.from, second!.text, second!.dataCoding], ['Shop', `${text} ا`, 8]);
  assert.deepEqual([first!.priority, second!.priority], [0, 1]);
  assert.equal(first!.registered, true);
  const leftMs = (first!.validity as Date).getTime() - Date.now();
  assert.ok(Math.abs(leftMs - 3_600_000) < 60_000, `validity: ${String(first!.validity)}`);
});

test.for([
  ['gsm7', 'long text with € and [brackets] '.repeat(20).trim(), 5],
  ['ucs2', 'سلام دنیا 😀 '.repeat(15).trim(), 3],
] as const)('a long message in %s is put together again by the phone', async ([, text, count], t) => {
  const smsc = await startSmsc(t);
  const { driver } = await bindTo(t, smsc.url);
  const result = await driver.send(message('m1', { text, segments: count }), never);
  assert.equal(smsc.taken.length, count);
  assert.deepEqual(
    smsc.messages.map((one) => one.text),
    [text],
  );
  assert.deepEqual(
    smsc.taken.map(({ registered }) => registered),
    smsc.taken.map((_, i) => i === count - 1),
    'one receipt of a message, for its last segment',
  );
  assert.deepEqual(result, { kind: 'taken', id: smsc.taken.at(-1)!.id });
  for (const { text: part } of smsc.taken) assert.ok(part.length <= (count === 5 ? 153 : 67));
});

const verdicts: readonly (readonly [SmscBehaviour, object, number])[] = [
  ['refuse', { kind: 'rejected', reason: 'command_status 0x0000000b: the destination address is invalid' }, 0],
  [
    'throttle',
    { kind: 'later', reason: 'command_status 0x00000058: the SMSC throttles', away: true, afterMs: 1000 },
    0,
  ],
  [
    'full',
    { kind: 'later', reason: 'command_status 0x00000014: the queue of the SMSC is full', away: true, afterMs: 1000 },
    0,
  ],
  ['silent', { kind: 'unknown', reason: 'no answer within 400 ms' }, 1],
  ['cut', { kind: 'unknown', reason: 'the connection was closed' }, 1],
  ['drop', { kind: 'unknown', reason: 'the connection was closed' }, 0],
];
test.for(verdicts)('an SMSC that does "%s" is understood', async ([behaviour, result, taken], t) => {
  const smsc = await startSmsc(t, { behaviour });
  // Only who is silent is waited for in vain.
  const { driver } = await bindTo(t, smsc.url, behaviour === 'silent' ? { timeout_ms: 400 } : {});
  assert.deepEqual(await driver.send(message('m1'), never), result);
  assert.equal(smsc.taken.length, taken);
});

test('a message whose second segment is refused is rejected, and one that is throttled waits for it', async (t) => {
  const smsc = await startSmsc(t);
  const { driver } = await bindTo(t, smsc.url);
  const text = 'x'.repeat(200);
  smsc.judge = ({ place }) => (place?.[2] === 2 ? 'refuse' : 'take');
  const refused = await driver.send(message('m1', { text, segments: 2 }), never);
  assert.equal(refused.kind, 'rejected');
  assert.match((refused as { reason: string }).reason, /^segment 2 of 2: /);
  let throttled = 0;
  smsc.judge = ({ place }) => (place?.[2] === 2 && throttled++ === 0 ? 'throttle' : 'take');
  assert.equal((await driver.send(message('m2', { text, segments: 2 }), never)).kind, 'taken');
  smsc.judge = ({ place }) => (place?.[2] === 2 ? 'cut' : 'take');
  assert.equal((await driver.send(message('m3', { text, segments: 2 }), never)).kind, 'unknown');
});

test('receipts name the message by the id of its answer, and are answered when they are committed', async (t) => {
  const smsc = await startSmsc(t);
  const bound = await bindTo(t, smsc.url);
  await bound.driver.send(message('m1'), never);
  const commit = Promise.withResolvers<'recorded'>();
  bound.receive = () => commit.promise;
  const answered = smsc.receipt('smsc-1', 'DELIVRD');
  await expect.poll(() => bound.receipts.length).toBe(1);
  assert.deepEqual(smsc.receiptAnswers, [], 'answered before the commit');
  commit.resolve('recorded');
  assert.equal(await answered, 0);
  const { atMs, ...receipt } = bound.receipts[0]!;
  assert.deepEqual(receipt, {
    messageId: 'm1',
    operatorId: 'smsc-1',
    operator: 'mci',
    status: 'delivered',
    reason: null,
  });
  assert.ok(Math.abs(atMs - Date.now()) < 10_000);
});

test('receipts without TLVs are read from their text; states that end badly say why', async (t) => {
  const smsc = await startSmsc(t);
  smsc.tlvs = false;
  const bound = await bindTo(t, smsc.url);
  for (const stat of ['ENROUTE', 'ACCEPTD', 'UNDELIV', 'EXPIRED', 'REJECTD', 'DELETED', 'DELIVRD'])
    assert.equal(await smsc.receipt('other-7', stat), 0);
  assert.deepEqual(
    bound.receipts.map(({ messageId, operatorId, status, reason }) => [messageId, operatorId, status, reason]),
    [
      [null, 'other-7', 'sent', null],
      [null, 'other-7', 'sent', null],
      [null, 'other-7', 'failed', 'UNDELIV, err 000'],
      [null, 'other-7', 'failed', 'EXPIRED, err 000'],
      [null, 'other-7', 'failed', 'REJECTD, err 000'],
      [null, 'other-7', 'failed', 'DELETED, err 000'],
      [null, 'other-7', 'delivered', null],
    ],
  );
  assert.equal(await smsc.receipt('other-7', 'UNKNOWN'), 0);
  assert.equal(bound.strays, 1, 'a state that says nothing changes nothing');
});

test('a text that ends with NUL is read up to it', () => {
  const receiptOf = (text: string) =>
    readReceipt({
      ...{ source: '98912', destination: '', esmClass: 4, dataCoding: 0 },
      ...{ message: Buffer.from(text), tlvs: new Map() },
    });
  assert.deepEqual(receiptOf('id:7 stat:UNDELIV err:011\0'), {
    ...{ id: '7', status: 'failed', reason: 'UNDELIV, err 011', reference: undefined },
  });
  assert.equal(receiptOf('stat:DELIVRD id:7\0').id, '7');
});

// Goal: a receipt finds its message whichever way the SMSC writes ids. Method: an SMSC that answers with one spelling and
// reports with another, for a message of this process and for one that only the database knows.
test.for([
  ['hex', '305419896', '12345678'],
  ['hex', '0305419896', '0012345678'],
  ['hex', '3735928559', 'DEADBEEF'],
  ['decimal', 'deadbeef', '3735928559'],
  ['decimal', '00DEADBEEF', '03735928559'],
  ['decimal', '12345678', '305419896'],
] as const)('receipt_id %s: submit_sm_resp says %s, the receipt %s', async ([receipt_id, answered, reported], t) => {
  const smsc = await startSmsc(t);
  smsc.idOf = () => answered;
  smsc.receiptIdOf = () => reported;
  for (const tlvs of [true, false]) {
    smsc.tlvs = tlvs;
    const bound = await bindTo(t, smsc.url, { receipt_id });
    const taken = await bound.driver.send(message('m1'), never);
    assert.equal(taken.kind, 'taken');
    assert.equal(await smsc.receipt(answered, 'DELIVRD'), 0);
    assert.deepEqual(
      bound.receipts.map(({ messageId, status }) => [messageId, status]),
      [['m1', 'delivered']],
    );
    await bound.driver.close();

    const other = await bindTo(t, smsc.url, { receipt_id });
    assert.equal(await smsc.receipt(answered, 'DELIVRD'), 0);
    const [known] = other.receipts;
    assert.deepEqual([known?.messageId, known?.operatorId], [null, (taken as { id: string }).id]);
    await other.driver.close();
  }
});

test('an id that is no number in its base, and every id by default, stay as they stand', async (t) => {
  const smsc = await startSmsc(t);
  for (const receipt_id of ['hex', 'decimal', 'same'] as const) {
    const bound = await bindTo(t, smsc.url, { receipt_id });
    smsc.idOf = () => 'a-b-c';
    assert.deepEqual(await bound.driver.send(message('m1'), never), { kind: 'taken', id: 'a-b-c' });
    await smsc.receipt('a-b-c', 'DELIVRD');
    assert.equal(bound.receipts[0]?.messageId, 'm1');
    await bound.driver.close();
  }
  const bound = await bindTo(t, smsc.url);
  smsc.idOf = () => '0012345678';
  assert.deepEqual(await bound.driver.send(message('m2'), never), { kind: 'taken', id: '0012345678' });
});

test('a receipt that cannot be committed is asked for again; one of nobody is counted', async (t) => {
  const smsc = await startSmsc(t);
  const bound = await bindTo(t, smsc.url);
  bound.receive = () => Promise.reject(new Error('the database is away'));
  assert.equal(await smsc.receipt('smsc-1', 'DELIVRD'), 0x64);
  bound.receive = async () => 'unknown';
  const answers = await Promise.all(Array.from({ length: 9 }, () => smsc.receipt('nobody', 'DELIVRD')));
  assert.deepEqual(answers.sort(), [0, ...Array.from({ length: 8 }, () => 0x64)], 'eight tries, then it is taken');
  assert.equal(bound.strays, 1);
  // Whoever commits what it is about may be a moment behind.
  bound.receive = async () => (bound.receipts.length % 2 === 0 ? 'recorded' : 'unknown');
  bound.receipts.length = 0;
  assert.equal(await smsc.receipt('somebody', 'DELIVRD'), 0);
  assert.equal(bound.receipts.length, 2);
  assert.equal(bound.strays, 1);
  assert.equal(await smsc.receipt('x', 'DELIVRD', { esm_class: 0 }), 0x65, 'a message from a phone');
});

test('an answer behind its timeout, and a receipt that gives the reference back, say what became of the message', async (t) => {
  const smsc = await startSmsc(t, { delayMs: 1500 });
  smsc.givesReference = true;
  const bound = await bindTo(t, smsc.url, { timeout_ms: 500 });
  assert.equal((await bound.driver.send(message('m1'), never)).kind, 'unknown');
  await expect.poll(() => bound.receipts.length).toBe(1);
  assert.deepEqual(
    { ...bound.receipts[0]!, atMs: 0 },
    {
      messageId: 'm1',
      operatorId: 'smsc-1',
      operator: 'mci',
      status: 'sent',
      reason: null,
      atMs: 0,
      newId: true,
    },
  );
  smsc.behaviour = 'silent';
  assert.equal((await bound.driver.send(message('m2'), never)).kind, 'unknown');
  await smsc.receipt('smsc-2', 'DELIVRD');
  assert.deepEqual([bound.receipts[1]!.messageId, bound.receipts[1]!.operatorId], ['m2', 'smsc-2']);
  await bound.driver.close();

  // As after a crash: what was submitted names the message, for nothing else is known of it.
  const other = await bindTo(t, smsc.url);
  await smsc.receipt('smsc-2', 'DELIVRD');
  const { messageId, operatorId, submitted, newId } = other.receipts[0]!;
  assert.deepEqual(
    { messageId, operatorId, submitted, newId },
    {
      messageId: null,
      operatorId: 'smsc-2',
      submitted: { to: '+989121234567', reference: referenceOf('m2') },
      newId: false,
    },
  );
});

test('a lost connection is made again, a refused bind too, and what is not bound takes nothing', async (t) => {
  const smsc = await startSmsc(t, { systemId: 'ringmain', password: 'other' });
  smsc.binding = false;
  const { driver, told } = driverOf(t, smsc.url, { password: 'other' });
  await expect.poll(() => told.length).toBeGreaterThan(1);
  assert.match(told[0]!, /^the bind was refused: command_status 0x0000000d/);
  assert.deepEqual(await driver.send(message('m1'), never), {
    kind: 'later',
    reason: 'not bound to the SMSC',
    away: true,
  });
  smsc.binding = true;
  await expect.poll(() => driver.state()).toBe('up');
  smsc.cutAll();
  await expect.poll(() => smsc.binds).toBe(2);
  await expect.poll(() => driver.state()).toBe('up');
  assert.equal((await driver.send(message('m2'), never)).kind, 'taken');
});

test('enquire_link goes both ways: a silent server is left, a living one is answered', async (t) => {
  const smsc = await startSmsc(t);
  const { driver, told } = await bindTo(t, smsc.url, { enquire_link_ms: 50, timeout_ms: 1500 });
  assert.equal(await smsc.enquire(), 0);
  await expect.poll(() => smsc.enquiries).toBeGreaterThan(1);
  assert.equal(driver.state(), 'up');
  smsc.answering = false;
  await expect.poll(() => told.at(-1)).toBe('the server does not answer enquire_link');
  smsc.answering = true;
  await expect.poll(() => driver.state()).toBe('up');
});

test('a drain unbinds in order', async (t) => {
  const smsc = await startSmsc(t);
  const { driver } = await bindTo(t, smsc.url);
  await driver.close();
  assert.equal(smsc.unbinds, 1);
  assert.equal(driver.state(), 'away');
  assert.equal((await driver.send(message('m1'), never)).kind, 'later');
});

test.for([1, 2, 3])('a drain while segment %i of 3 waits: the rest is written, and it is unknown', async (waits, t) => {
  const smsc = await startSmsc(t);
  smsc.judge = ({ place }) => (place?.[2] === waits ? 'silent' : 'take');
  const { driver } = await bindTo(t, smsc.url, { timeout_ms: 60_000 });
  const drain = new AbortController();
  const long = { text: 'x'.repeat(400), segments: 3 };
  const sent = driver.send(message('m1', long), drain.signal);
  await expect.poll(() => smsc.taken.length).toBe(waits);
  drain.abort();
  assert.equal((await sent).kind, 'unknown');
  await expect.poll(() => smsc.taken.map(({ place }) => place?.[2])).toEqual([1, 2, 3]);
  assert.equal((await driver.send(message('m2', long), drain.signal)).kind, 'later', 'it has not begun');
});

test.for([
  ['a length of 3', Buffer.from([0, 0, 0, 3])],
  ['a length of a gigabyte', Buffer.from([0x40, 0, 0, 0])],
  ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
] as const)('a server that answers with %s is left at once', async ([, bytes], t) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => socket.write(bytes));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { told } = driverOf(t, `smpp://127.0.0.1:${(server.address() as { port: number }).port}`);
  await expect.poll(() => told[0]).toMatch(/^the server does not speak SMPP: a PDU must have 16 to 16384 bytes/);
});

test('a thousand messages in a window: each is taken once', async (t) => {
  const smsc = await startSmsc(t, { delayMs: 1, receipts: 2 });
  const bound = await bindTo(t, smsc.url);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < 1000) {
      const id = `m${next++}`;
      assert.equal((await bound.driver.send(message(id, { text: id }), never)).kind, 'taken');
    }
  };
  await Promise.all(Array.from({ length: 20 }, worker));
  assert.equal(smsc.messages.length, 1000);
  assert.deepEqual(smsc.twice, []);
  assert.ok(smsc.runningMax <= 20);
  await expect.poll(() => bound.receipts.length).toBe(2000);
  assert.ok(bound.receipts.every(({ messageId }) => messageId !== null));
});
