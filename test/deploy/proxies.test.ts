/**
 * The example proxies in front of real collectors.
 *
 * Goal: no request fails, no event is lost or doubled, each carries its client's address, over sparse keep-alive traffic (idle times around
 * every time-out there is: 5 s of the proxies, 8 to 12 s of the collector) and while one collector after the other is restarted. What decides it
 * is watched from between: a proxy closes an idle connection before the collector does.
 * LONG=1: ten minutes of sparse traffic.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, test } from 'vitest';
import { Client } from './clients.ts';
import { collectorFolder, eventsIn, startCollector } from './collector.ts';
import { startHaproxy, startNginx } from './proxy.ts';
import { type Relay, startRelay } from './relay.ts';

const SPARSE_MS = process.env['LONG'] ? 600_000 : 20_000;
const CLIENTS = 24;
/** HAProxy closes a client's connection that was idle for so long (timeout http-keep-alive); nginx keeps it longer than any gap here. */
const HAPROXY_IDLE_MS = 5000;
const HAPROXY = { port: 21930, collectors: [21931, 21932] } as const;
const NGINX = { port: 21935, collectors: [21936, 21937] } as const;
/** A relay stands before each collector, this much higher. */
const RELAY = 20;
const ROLLING = { port: 21940, collectors: [21941, 21942] } as const;

// At the same time: both spend it waiting.
describe.concurrent('behind a proxy', () => {
  test('no request fails and each event has its address over sparse keep-alive traffic behind HAProxy (PROXY v2) and nginx', async (t) => {
    const folders = { haproxy: [] as string[], nginx: [] as string[] };
    const relays = { haproxy: [] as Relay[], nginx: [] as Relay[] };
    for (const [name, { collectors }, env] of [
      ['haproxy', HAPROXY, { PROXY_PROTOCOL: 'true' }],
      ['nginx', NGINX, { TRUST_PROXY: '1' }],
    ] as const) {
      for (const port of collectors) {
        folders[name].push((await startCollector(t, { port, env })).folder);
        relays[name].push(await startRelay(t, port + RELAY, port));
      }
    }
    const behindRelays = ({ port, collectors: [a, b] }: typeof HAPROXY | typeof NGINX) => ({
      port,
      collectors: [a + RELAY, b + RELAY] as const,
    });
    await startHaproxy(t, behindRelays(HAPROXY));
    await startNginx(t, behindRelays(NGINX));

    const until = performance.now() + SPARSE_MS;
    await Promise.all(
      (
        [
          ['haproxy', HAPROXY.port],
          ['nginx', NGINX.port],
        ] as const
      ).map(async ([name, port]) => {
        const clients = Array.from({ length: CLIENTS }, (_, i) => ({
          client: new Client(port, `127.0.7.${i + 1}`, name === 'haproxy' ? HAPROXY_IDLE_MS : undefined),
          i,
        }));
        await Promise.all(clients.map(({ client, i }) => sparse(client, i, until)));
        const failures = clients.flatMap(({ client }) => client.failures);
        assert.deepEqual(
          failures,
          [],
          `${name}: ${failures.length} of ${clients.reduce((sum, c) => sum + c.client.sent, 0)} failed`,
        );
        const sent = clients.flatMap(({ client, i }) => client.accepted.map((id) => `${id} 127.0.7.${i + 1}`)).sort();
        const stored = () =>
          folders[name]
            .flatMap(eventsIn)
            .map(({ event_id: id, ip }) => `${id} ${ip}`)
            .sort();
        await t.expect
          .poll(() => stored().length >= sent.length, { message: `${name}: all events in the files` })
          .toBe(true);
        assert.deepEqual(stored(), sent, `${name}: what is stored is not what was accepted, with its address`);
        assert.ok(sent.length > CLIENTS * 2);
        t.annotate(
          `${name}: ${sent.length} requests, ${clients.reduce((sum, c) => sum + c.client.met, 0)} met the close`,
        );
        const { idleMsMax, closedByCollector } = {
          idleMsMax: Math.max(...relays[name].map((relay) => relay.idleMsMax)),
          closedByCollector: relays[name].reduce((sum, relay) => sum + relay.closedByCollector, 0),
        };
        assert.ok(idleMsMax < 8000, `${name}: a request came over a connection that was idle for ${idleMsMax} ms`);
        assert.equal(closedByCollector, 0, `${name}: the collector was first to close idle connections`);
      }),
    );
  });

  test('one collector after the other is restarted behind HAProxy under load: no request fails, no event is lost', async (t) => {
    const env = { PROXY_PROTOCOL: 'true', DRAIN_DELAY_MS: '4000' };
    const folders = ROLLING.collectors.map(() => collectorFolder());
    const collectors = [];
    for (const [i, port] of ROLLING.collectors.entries())
      collectors.push(await startCollector(t, { port, env, folder: folders[i]! }));
    await startHaproxy(t, ROLLING);

    const clients = Array.from({ length: 16 }, (_, i) => new Client(ROLLING.port, `127.0.8.${i + 1}`));
    let running = true;
    const load = Promise.all(
      clients.map(async (client, i) => {
        for (let n = i; running; n += 1) {
          await client.send(n % 4 === 0 ? 'collect' : 'px', randomUUID());
          await sleep(20);
        }
        client.close();
      }),
    );
    try {
      await sleep(500);
      for (const [i, port] of ROLLING.collectors.entries()) {
        const code = await collectors[i]!.stop();
        assert.equal(code, 0, `the collector did not end in order:\n${collectors[i]!.log}`);
        await startCollector(t, { port, env, folder: folders[i]! });
        // HAProxy must have seen it before the other one goes: two checks of a second.
        await sleep(3000);
      }
    } finally {
      running = false;
      await load;
    }
    const failures = clients.flatMap(({ failures }) => failures);
    const accepted = clients.flatMap(({ accepted: ids }) => ids).sort();
    assert.deepEqual(failures, [], `${failures.length} requests failed, ${accepted.length} did not`);
    const stored = () => folders.flatMap((folder) => eventsIn(folder).map(({ event_id: id }) => id)).sort();
    await t.expect.poll(() => stored().length >= accepted.length, { message: 'all events in the files' }).toBe(true);
    assert.deepEqual(stored(), accepted);
    assert.ok(accepted.length > 1000, `too little load: ${accepted.length}`);
  });
});

test('health and metrics are not shown to the outside', async (t) => {
  const port = ROLLING.collectors[0];
  await startCollector(t, { port, env: { PROXY_PROTOCOL: 'true' } });
  await startHaproxy(t, { port: ROLLING.port, collectors: [port, port] });
  const client = new Client(ROLLING.port, '127.0.0.1');
  for (const path of ['/healthz', '/readyz', '/readyz?sinks=ignore', '/metrics']) {
    assert.equal((await client.ask(path, undefined)).status, 404, path);
  }
  client.close();
});

/** Gaps that fall just below and above each time-out, and short ones; the client's own X-Forwarded-For must not be believed. */
async function sparse(client: Client, i: number, until: number): Promise<void> {
  const gaps = [100, 4700, 5300, 7800, 9800, 10_300, 12_500];
  for (let n = i; ; n += 1) {
    await client.send(n % 3 === 0 ? 'collect' : 'px', randomUUID(), { 'X-Forwarded-For': '198.51.100.9' });
    const gap = gaps[n % gaps.length]! + ((i * 17) % 200);
    if (performance.now() + gap > until) break;
    await sleep(gap);
  }
  client.close();
}
