/**
 * Goal: a live view shows an event within a second of its arrival, of every process, and nothing is done while nobody
 * looks. Method: real processes and sockets; without Kafka one process, with Kafka two of them.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type KafkaCluster, startKafka } from '../../servers/kafka.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { type Running, startAnalytics } from '../running.ts';
import { Watcher } from './watcher.ts';

const scope = fileScope();
let postgres: PostgresServer;
const watchers: Watcher[] = [];

beforeAll(async () => {
  postgres = await startPostgres(scope, { port: 23_130, settings: fastSettings });
});
afterAll(() => {
  for (const watcher of watchers) watcher.close();
});

async function watch(running: Running, site = 'shop'): Promise<Watcher> {
  const watcher = new Watcher();
  watchers.push(watcher);
  const answer = await watcher.open(`${running.url}/api/sites/${site}/live`);
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toBe('text/event-stream');
  await expect.poll(() => watcher.ticks.length).toBeGreaterThan(0);
  return watcher;
}

const view = (path: string, more: Readonly<Record<string, unknown>> = {}) => ({
  site_id: 'shop',
  event_type: 'page_view',
  path,
  ...more,
});

async function metric(running: Running, name: string): Promise<number> {
  const text = await (await running.get('/metrics')).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}

/** Ms from the 202 of an event to the tick that shows it. */
async function latency(running: Running, watcher: Watcher, path: string): Promise<number> {
  expect((await running.post('/events', view(path, { user_id: `u${path}` }))).status).toBe(202);
  const sent = performance.now();
  await expect.poll(() => watcher.showing(path), { interval: 5 }).toBeDefined();
  return watcher.showing(path)!.atMs - sent;
}

describe('one process, without Kafka', () => {
  let running: Running;
  beforeAll(async () => {
    running = await startAnalytics(scope, { port: 23_131, env: { DATABASE_URL: postgres.dsn } });
  });

  test('an event shows within a second; visitors are told apart, bots and other sites are not there', async () => {
    await running.post('/events', view('/before'));
    expect(await metric(running, 'ringmain_live_watching')).toBe(0);
    expect(await metric(running, 'ringmain_live_events_total')).toBe(0);
    const watcher = await watch(running);
    // Who came before anybody looked is there at once.
    expect(watcher.ticks[0]).toMatchObject({ visitors: 1, last: [{ path: '/before' }] });
    expect(watcher.last!.window_s).toBeGreaterThan(290);
    // And how often something came in the last minute and a half: nothing, and then this one.
    const rates = watcher.ticks[0]!.rates!;
    expect(rates).toHaveLength(90);
    expect([rates[0], Math.max(...rates)]).toEqual([0, 0.1]);
    expect(await latency(running, watcher, '/a')).toBeLessThan(1000);
    expect(await latency(running, watcher, '/b')).toBeLessThan(1000);
    await running.post('/events', [
      view('/c', { user_id: 'u/a' }),
      view('/elsewhere', { site_id: 'blog', user_id: 'other' }),
      // Of an hour ago: it is part of a history, and nobody is there.
      view('/long-ago', { user_id: 'past', timestamp: new Date(Date.now() - 3_600_000).toISOString() }),
      { site_id: 'shop', event_type: 'engagement', user_id: 'reader', props: { ms: 5000 } },
      { site_id: 'shop', event_type: 'engagement', path: '/word', user_id: 'u/a', props: { ms: 5, of: 'a customer' } },
    ]);
    await fetch(`${running.url}/events`, {
      method: 'POST',
      headers: { 'user-agent': 'Googlebot/2.1', 'content-type': 'application/json' },
      body: JSON.stringify(view('/bot', { user_id: 'bot' })),
    });
    expect(await latency(running, watcher, '/d')).toBeLessThan(1000);
    await expect.poll(() => watcher.last?.visitors).toBe(5);
    expect(watcher.last!.events_per_second).toBeGreaterThan(0);
    expect(watcher.showing('/c')).toBeDefined();
    expect(watcher.showing('/word')).toBeDefined();
    expect(watcher.showing('/elsewhere') ?? watcher.showing('/bot') ?? watcher.showing('/long-ago')).toBeUndefined();
    const paths = watcher.ticks.flatMap(({ last }) => last.map(({ path }) => path));
    expect(paths.filter((path) => path === '/before')).toEqual(['/before']);
    const types = new Set(watcher.ticks.flatMap(({ last }) => last.map(({ event_type }) => event_type)));
    expect([...types].sort()).toEqual(['engagement', 'page_view']);
    await expect.poll(() => metric(running, 'ringmain_live_streams')).toBe(1);
    watcher.close();
  });

  test('who comes while others look is told of each event once', async () => {
    const first = await watch(running);
    // Between the moment when the worker has the events and the next look for all, most of the time.
    for (let round = 0; round < 6; round += 1) {
      const told = await metric(running, 'ringmain_live_events_total');
      const both = [view(`/once/${round}/0`), view(`/once/${round}/1`)];
      await running.post('/events', both);
      await expect
        .poll(() => metric(running, 'ringmain_live_events_total'), { interval: 5 })
        .toBeGreaterThanOrEqual(told + 2);
      const late = await watch(running);
      await expect.poll(() => late.showing(`/once/${round}/1`)).toBeDefined();
      await latency(running, late, `/after/${round}`);
      for (const watcher of [first, late]) {
        const paths = watcher.ticks.flatMap(({ last }) => last.map(({ path }) => path));
        expect(paths.filter((path) => path?.startsWith(`/once/${round}/`)).toSorted()).toEqual([
          `/once/${round}/0`,
          `/once/${round}/1`,
        ]);
      }
      late.close();
    }
    first.close();
  });

  test('when the last one has gone, nothing runs any more', async () => {
    await expect.poll(() => metric(running, 'ringmain_live_streams')).toBe(0);
    await expect.poll(() => metric(running, 'ringmain_live_watching')).toBe(0);
    const told = await metric(running, 'ringmain_live_events_total');
    await running.post('/events', view('/unseen'));
    expect(await metric(running, 'ringmain_live_events_total')).toBe(told);
    const watcher = await watch(running);
    expect(await latency(running, watcher, '/seen')).toBeLessThan(1000);
    expect(watcher.ticks[0]!.last[0]).toMatchObject({ path: '/unseen' });
    await expect.poll(() => metric(running, 'ringmain_live_events_total')).toBe(told + 1);
  });

  test('a site that is looked at while others are shows its first event, and who was there', async () => {
    const busy = await watch(running);
    await running.post('/events', view('/quiet/before', { site_id: 'quiet', user_id: 'first' }));
    await latency(running, busy, '/busy');
    const quiet = await watch(running, 'quiet');
    expect(quiet.ticks[0]).toMatchObject({ visitors: 1, last: [{ path: '/quiet/before' }] });
    await running.post('/events', view('/quiet/now', { site_id: 'quiet', user_id: 'second' }));
    await expect.poll(() => quiet.showing('/quiet/now')).toBeDefined();
    expect(quiet.last!.visitors).toBe(2);
    quiet.close();
    busy.close();
  });

  test('a live view needs no database', async () => {
    const watcher = await watch(running, 'nobody-knows-it');
    expect(watcher.last!.visitors).toBe(0);
    watcher.close();
  });

  test('a drain ends the stream and says so', async () => {
    const watcher = await watch(running);
    const ended = running.process.end('SIGTERM');
    await expect.poll(() => watcher.ended).toBe(true);
    expect(watcher.end).toMatch(/stopped/);
    await ended;
  });

  test('who was there before the service was started again is there still', async () => {
    const { folder } = running;
    const again = await startAnalytics(scope, { port: 23_131, folder, env: { DATABASE_URL: postgres.dsn } });
    const watcher = await watch(again, 'quiet');
    expect(watcher.ticks[0]).toMatchObject({ visitors: 2, last: [{ path: '/quiet/now' }, { path: '/quiet/before' }] });
    expect(watcher.last!.window_s).toBeGreaterThan(290);
    watcher.close();
  });
});

test('without a journal the view says of which time it is', async () => {
  const env = { DATABASE_URL: postgres.dsn, JOURNAL_DIR: 'off', JOURNAL_MAX_BYTES: '', ACK: 'memory' };
  const running = await startAnalytics(scope, { port: 23_131, env });
  await running.post('/events', view('/ring'));
  const watcher = await watch(running);
  expect(watcher.ticks[0]).toMatchObject({ visitors: 1, last: [{ path: '/ring' }] });
  expect(watcher.last!.window_s).toBeLessThan(120);
  watcher.close();
  await running.process.end('SIGTERM');
});

describe('two processes, with Kafka', () => {
  let kafka: KafkaCluster;
  let apis: Running[];
  beforeAll(async () => {
    kafka = await startKafka(scope, { port: 23_132 });
    const env = { DATABASE_URL: postgres.dsn, KAFKA_BROKER_URLS: kafka.brokers.join(','), KAFKA_TOPIC: 'live' };
    apis = await Promise.all([23_140, 23_150].map((port) => startAnalytics(scope, { port, words: ['api'], env })));
  });

  test('each shows the events of both, and those of the minutes before somebody looked', async () => {
    const [first, second] = apis as [Running, Running];
    await first.post('/events', view('/early', { user_id: 'early' }));
    const watcher = await watch(first);
    await expect.poll(() => watcher.showing('/early')).toBeDefined();
    expect(watcher.last!.window_s).toBeGreaterThan(290);
    await latency(first, watcher, '/warm');
    expect(await latency(first, watcher, '/own')).toBeLessThan(1000);
    expect(await latency(second, watcher, '/other')).toBeLessThan(1000);
    expect(watcher.last!.visitors).toBe(4);
    expect(await metric(second, 'ringmain_live_watching')).toBe(0);
    // A site that is looked at later: its visitors of the minutes before are there as well.
    await first.post(
      '/events',
      [1, 2, 3].map((who) => view('/blog', { site_id: 'blog', user_id: `reader-${who}` })),
    );
    await latency(first, watcher, '/behind');
    const blog = await watch(first, 'blog');
    await expect.poll(() => blog.last?.visitors).toBe(3);
    expect(blog.last!.window_s).toBeGreaterThan(290);
    await first.post('/events', view('/blog/now', { site_id: 'blog', user_id: 'reader-4' }));
    await expect.poll(() => blog.last?.visitors).toBe(4);
    blog.close();
    watcher.close();
    await expect.poll(() => metric(first, 'ringmain_live_watching')).toBe(0);
  });
});
