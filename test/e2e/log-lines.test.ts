/**
 * Goal: what an operator reads at night is there and is true: one line for each thing that goes wrong or comes back, by
 * level, sentence and fields, and none that promises a journal where there is none.
 * Method: the built collector is refused, crashed and stopped in each way; receivers of HTTP are away, hang, or refuse.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TestContext, test } from 'vitest';
import { RawConnection, requestBytes } from '../http/raw.ts';
import { Collector, temporary } from '../servers/collector.ts';

const PORT = 22_260;
type Line = Readonly<Record<string, unknown>>;

/** The lines of its log with this sentence. */
const linesOf = ({ log }: Collector, sentence: string): readonly Line[] =>
  log
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Line)
    .filter(({ msg }) => msg === sentence);

/** Waits until there is a line with this sentence and these fields. */
async function said({ expect }: TestContext, collector: Collector, sentence: string, fields: Line): Promise<Line> {
  await expect.poll(() => linesOf(collector, sentence)).toContainEqual(expect.objectContaining(fields));
  return linesOf(collector, sentence)[0]!;
}

/** A receiver; `takes` decides about its requests. A status of undefined hangs. */
async function receiver(t: TestContext, status: () => number | undefined) {
  const seen: ServerResponse[] = [];
  const server = createServer((request, response) => {
    seen.push(response);
    const code = status();
    request.resume().on('end', () => {
      if (code !== undefined) response.writeHead(code).end();
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { seen, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

const small = { RING_BYTES: '4MiB', SEGMENT_BYTES: '4MiB', OUTPUTS: 'http' };
const kept = { JOURNAL_MAX_BYTES: '64MiB' };
const AWAY = 'http://127.0.0.1:1/';
const batch = (events: number) => Array.from({ length: events }, () => ({ e: 'night', text: 'x'.repeat(1000) }));
/** Longer than what is between two signals that count as one. */
const TWICE_MS = 200;

test.concurrent('refused, shed, rejected, crashed, reopened, given up, dead: each has its line', async (t) => {
  const { expect } = t;
  const folder = temporary(t);
  const life = (env: Readonly<Record<string, string>>) =>
    new Collector(t, { port: PORT, folder, env: { ...small, ...kept, HTTP_SINK_URL: AWAY, ...env } });

  const first = life({ MAX_CONNECTIONS: '1', MAX_LAG_BYTES: '64KiB' });
  await first.start();
  const client = await RawConnection.open(PORT);
  const headers = ['Content-Type: application/json'];
  const post = async (body: string) => {
    client.send(requestBytes('/collect', { method: 'POST', headers, body }));
    return (await client.answer())!.status;
  };
  expect(await post('no json')).toBe(400);
  let events = 0;
  await expect
    .poll(async () => {
      const status = await post(JSON.stringify(batch(10)));
      if (status === 202) events += 10;
      return status;
    })
    .toBe(429);
  const refusing = 'refusing events: there is no room for them at the moment';
  await said(t, first, refusing, { level: 'warn', name: 'main', reason: 'sink_lag', count: 1 });
  await said(t, first, 'rejecting requests or events for good', { level: 'info', reason: 'bad_json', count: 1 });
  client.send(Buffer.concat(Array.from({ length: 2000 }, () => requestBytes('/px.gif'))));
  await said(t, first, 'closing connections that pipeline too much or do not read answers', {
    level: 'warn',
    reason: 'pipelined',
    count: 1,
  });
  await client.closed();
  // One may come, one more has a seat of the reserve, and then there is none.
  for (let i = 0; i < 4; i++) {
    const connection = await RawConnection.open(PORT);
    t.onTestFinished(() => connection.close());
  }
  await said(t, first, 'closing new connections at once: MAX_CONNECTIONS is reached', {
    level: 'warn',
    count: expect.any(Number),
  });
  await first.kill('SIGKILL');

  const second = life({ MAX_LAG_BYTES: '16KiB', ON_LAG: 'drop' });
  await second.start();
  const recovered = await said(t, second, 'recovered the journal of earlier runs', {
    level: 'info',
    lanes: 1,
    records: events,
    owed: { http: events },
  });
  expect(recovered).toMatchObject({ bytes: expect.any(Number), ms: expect.any(Number) });
  // Outputs begin before the acceptors do: what happens then is told as well.
  const givenUp =
    'events were given up: damaged on disk, dropped because of lag, or deleted before the sink got to them';
  const { count } = await said(t, second, givenUp, { level: 'warn', sink: 'http', count: expect.any(Number) });
  await second.deliver(batch(5));
  const left = events - Number(count) + 5;
  second.signal('SIGHUP');
  await said(t, second, 'SIGHUP: reopening log files, reloading certificates', { level: 'info' });
  expect(await second.kill('SIGTERM')).toBe(0);
  const stopped = 'stopped with undelivered events; the journal keeps them for the next start';
  expect(linesOf(second, stopped)).toEqual([expect.objectContaining({ level: 'warn', owed: { http: left } })]);
  expect(second.log).not.toContain('drained');

  const refuses = await receiver(t, () => 422);
  const third = life({ HTTP_SINK_URL: refuses.url });
  await third.start();
  const dead = 'the target rejected events for good; they are in the dead-letter file';
  await said(t, third, dead, { level: 'warn', sink: 'http' });
  expect(await third.kill('SIGTERM')).toBe(0);
  // The first line and the last look: no dead letter is left untold.
  expect(linesOf(third, dead).reduce((sum, line) => sum + Number(line['count']), 0)).toBe(left);
  await said(t, third, 'drained: everything was delivered', { level: 'info' });
});

test.concurrent('a drain that is cut short says what becomes of the rest, with a journal and without one', async (t) => {
  const { expect } = t;
  const drain = async (port: number, journal: boolean, timeout: string) => {
    const hangs = await receiver(t, () => undefined);
    const env = {
      ...small,
      ...(journal ? kept : { JOURNAL_DIR: 'off', ACK: 'memory' }),
      HTTP_SINK_URL: hangs.url,
      HTTP_SINK_FLUSH_MS: '1',
      DRAIN_TIMEOUT_MS: timeout,
    };
    const collector = await Collector.start(t, { port, env });
    await collector.deliver(batch(3));
    await expect.poll(() => hangs.seen.length).toBeGreaterThan(0);
    const ended = collector.kill('SIGTERM');
    await said(t, collector, 'draining', { level: 'info' });
    return { collector, ended };
  };
  const cutShort = async (journal: boolean, port: number) => {
    const rest = journal
      ? 'the journal keeps what is undelivered'
      : 'what is undelivered is lost because there is no journal';

    const late = await drain(port, journal, '1000');
    expect(await late.ended).toBe(0);
    expect(linesOf(late.collector, `sinks could not deliver everything in time; ${rest}`)).toEqual([
      expect.objectContaining({ level: 'warn', threads: ['sink-http'] }),
    ]);
    const stopped = journal ? 'the journal keeps them for the next start' : 'they are lost because there is no journal';
    expect(linesOf(late.collector, `stopped with undelivered events; ${stopped}`)).toEqual([
      expect.objectContaining({ level: journal ? 'warn' : 'error', owed: { http: 3 } }),
    ]);
    if (!journal) expect(late.collector.log).not.toContain('the journal keeps');

    const cut = await drain(port, journal, '60000');
    await sleep(TWICE_MS);
    cut.collector.signal('SIGTERM');
    expect(await cut.ended).toBe(143);
    expect(linesOf(cut.collector, `stopped by a second signal; ${rest}`)).toEqual([
      expect.objectContaining({ level: 'warn', signal: 'SIGTERM' }),
    ]);
  };
  await Promise.all([cutShort(true, PORT + 1), cutShort(false, PORT + 2)]);
});
