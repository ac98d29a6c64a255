import '../../collect/head-limit.ts';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Answer, freePort, request } from '../../http/raw.ts';
import { buildMmdb } from '../../visitor/mmdb.ts';
import { type RigOptions, startRig as start } from './rig.ts';

const port = await freePort(21340);
const DAY = 86_400_000;
const TODAY = 20_000;
const noon = TODAY * DAY + DAY / 2;
const iso = (ms: number) => new Date(ms).toISOString();
const firefox = 'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
const curl = 'User-Agent: curl/8.5.0';
const page = 'https://shop.example/a?b';
const from = (address: string) => `X-Forwarded-For: ${address}`;

const startRig = (t: Parameters<typeof start>[0], options: Partial<RigOptions> = {}) =>
  start(t, port, {
    now: () => noon,
    saltDays: [TODAY - 1, TODAY],
    ...options,
    env: { TRUST_PROXY: 'true', ...options.env },
  });
const pixel = (query: Readonly<Record<string, string>>, headers: readonly string[] = [firefox]) =>
  request(port, `/px.gif?${new URLSearchParams(query)}`, { headers: [from('192.0.2.1'), ...headers] });
const post = (path: string, body: unknown, headers: readonly string[] = [firefox]) =>
  request(port, path, {
    method: 'POST',
    headers: ['Content-Type: application/json', from('192.0.2.1'), ...headers],
    body: JSON.stringify(body),
  });
const collect = (body: unknown, headers?: readonly string[]) => post('/collect', body, headers);
const kept = ({ headers }: Answer) => headers['ringmain-ack'] !== undefined;

test('one visitor is the same by every way in, and nobody gets a cookie', async (t) => {
  const rig = await startRig(t);
  const answers = [
    await pixel({ url: page }),
    await request(port, '/px.gif', { headers: [from('192.0.2.1'), firefox, `Referer: ${page}`] }),
    await collect({ e: 'pageview', url: page }),
    await post('/events', { site_id: 'shop.example', event_type: 'page_view', url: page }),
  ];
  for (const answer of answers) {
    expect(kept(answer)).toBe(true);
    expect(answer.headers['set-cookie']).toBeUndefined();
  }
  const events = rig.events();
  const { visitor } = events[0]!;
  expect(visitor).toMatch(/^[0-9a-f]{32}$/);
  for (const event of events)
    expect(event).toMatchObject({
      site_id: 'shop.example',
      event_type: 'page_view',
      path: '/a',
      visitor,
      device: 'desktop',
      browser: 'Firefox',
      os: 'Linux',
      received_at: expect.stringContaining(iso(noon).slice(0, -1)) as string,
    });
  expect(events.map(({ via }) => via)).toEqual(['px', 'px', 'collect', 'events']);
  expect(new Set(events.map(({ received_at }) => received_at)).size).toBe(4);
  expect(rig.lane.lines.join()).not.toMatch(/192\.0\.2\.1|Mozilla|"sid"|"ip"|"ua"/);
  expect(rig.unshared()).toBe(0);
});

test('an event of yesterday has the visitor of yesterday; older ones have one within their request only', async (t) => {
  const rig = await startRig(t);
  const at = (days: number) => ({ e: 'pageview', url: page, ts: iso(noon - days * DAY) });
  await collect([at(0), at(1), at(5), at(5), at(6)]);
  await collect([at(1), at(5)]);
  const [today, yesterday, old, again, older, yesterdayAgain, other] = rig.events().map(({ visitor }) => visitor);
  expect(new Set([today, yesterday, old, older, other]).size).toBe(5);
  expect(again).toBe(old);
  expect(yesterdayAgain).toBe(yesterday);
});

test('a salt that nobody else has is counted', async (t) => {
  const rig = await startRig(t, { saltDays: [] });
  await collect({ url: page });
  await collect({ url: page, uid: 'u1' });
  expect(rig.unshared()).toBe(1);
});

test('an item that cannot be converted is an error of that item, at its place among the others', async (t) => {
  const rig = await startRig(t, { ageMs: 2 * DAY });
  const answer = await collect([
    { e: 'x' },
    7,
    { e: 'good', url: page },
    { event_id: 'none', url: page },
    { url: page, ts: iso(noon - 3 * DAY) },
    { e: 'y'.repeat(51), url: page },
    { e: 'also good', props: { site_id: 's' } },
    {},
  ]);
  expect(answer.status).toBe(202);
  const { accepted, rejected, errors } = answer.json() as {
    accepted: number;
    rejected: number;
    errors: { index: number; code: string; message: string }[];
  };
  expect([accepted, rejected]).toEqual([2, 6]);
  expect(errors.map(({ index }) => index)).toEqual([0, 1, 3, 4, 5, 7]);
  expect(errors[0]!.message).toMatch(/^props\.site_id must be/);
  expect(errors[3]!.message).toMatch(/^ts must be at most 2 days old/);
  expect(errors[4]!.message).toMatch(/^e must be 1 to 50 characters/);
  expect(rig.events().map(({ event_type }) => event_type)).toEqual(['good', 'also good']);
});

test('a body without one good item is refused whole, with a bounded list', async (t) => {
  const rig = await startRig(t);
  const answer = await collect(Array.from({ length: 300 }, (_, i) => (i % 2 === 0 ? { e: 'x' } : 7)));
  expect(answer.status).toBe(400);
  const { code, errors } = answer.json() as { code: string; errors: { index: number }[] };
  expect(code).toBe('NO_VALID_EVENT');
  expect(errors.length).toBeLessThanOrEqual(100);
  expect(rig.lane.lines).toEqual([]);
});

test('an image that cannot be recorded is answered as usual, and counted by its reason', async (t) => {
  const refusal = () => ({ code: 'SITE_UNKNOWN' as const, message: 'no' });
  const rig = await startRig(t, {
    ageMs: DAY,
    grant: { admits: (site) => site !== 'other', refusal, retentionDays: () => Number.POSITIVE_INFINITY },
  });
  const answers = [
    await pixel({ e: 'x' }),
    await pixel({ e: 'x'.repeat(51), url: page }),
    await pixel({ url: page, ts: iso(noon - 2 * DAY) }),
    await pixel({ site_id: 'other' }),
  ];
  for (const answer of answers) {
    expect(answer.status).toBe(200);
    expect(answer.body).toHaveLength(43);
    expect(kept(answer)).toBe(false);
  }
  const reasons = ['no_site', 'bad_event', 'too_old', 'forbidden'] as const;
  expect(reasons.map((reason) => rig.unrecorded(reason))).toEqual([1, 1, 1, 1]);
  expect(rig.lane.lines).toEqual([]);
});

test('while the sites are not known yet an image may come again: 503, with the GIF', async (t) => {
  const refusal = () => ({ code: 'ACCESS_UNKNOWN' as const, message: 'later' });
  const rig = await startRig(t, {
    grant: { admits: () => false, refusal, retentionDays: () => Number.POSITIVE_INFINITY },
  });
  const answer = await pixel({ url: page });
  expect([answer.status, answer.body.length, answer.headers['retry-after']]).toEqual([503, 43, '1']);
  expect((await collect({ url: page })).status).toBe(503);
  expect(rig.unrecorded('unavailable')).toBe(1);
});

test('sites that a request may not write are refused by /collect with the code of the guard', async (t) => {
  const refusal = (site: string) => ({ code: 'SITE_UNKNOWN' as const, message: `no ${site}` });
  const rig = await startRig(t, {
    grant: { admits: (site) => site === 'mine', refusal, retentionDays: () => Number.POSITIVE_INFINITY },
  });
  const answer = await collect([{ props: { site_id: 'mine' } }, { url: page }]);
  expect(answer.json()).toMatchObject({
    accepted: 1,
    errors: [{ index: 1, code: 'SITE_UNKNOWN', message: 'no shop.example' }],
  });
  expect(rig.events()).toHaveLength(1);
});

test.each([{ DNT_MODE: 'drop' }, { DNT_MODE: 'anonymize' }])('do not track, %o', async (env) => {
  const rig = await startRig({ onTestFinished: (end) => void ends.push(end) }, { env });
  for (const no of ['DNT: 1', 'Sec-GPC: 1']) {
    const headers = [firefox, no];
    expect((await pixel({ url: page, uid: 'u1' }, headers)).status).toBe(200);
    const item = { url: page, uid: 'u1', ua: 'Safari' };
    expect((await collect(item, headers)).json()).toMatchObject({ accepted: 1 });
    const event = { site_id: 's', event_type: 'x', user_id: 'u1' };
    expect((await post('/events', event, headers)).status).toBe(202);
  }
  const events = rig.events();
  expect(events).toHaveLength(env.DNT_MODE === 'drop' ? 0 : 6);
  for (const event of events) {
    expect(event).not.toHaveProperty('user_id');
    expect(event).not.toHaveProperty('visitor');
    expect(event).toMatchObject({ browser: 'Firefox' });
  }
  for (const end of ends.splice(0)) await end();
});
const ends: (() => unknown)[] = [];

test('DNT_RESPECT=false records as if nobody had asked', async (t) => {
  const rig = await startRig(t, { env: { DNT_RESPECT: 'false' } });
  await pixel({ url: page, uid: 'u1' }, [firefox, 'DNT: 1']);
  expect(rig.events()).toMatchObject([{ user_id: 'u1' }]);
});

test('programs may send events, and do not load pages; what is no bot is not called one', async (t) => {
  const rig = await startRig(t);
  const event = { site_id: 's', event_type: 'x' };
  await post('/events', event, [curl]);
  await post('/events', event, []);
  await post('/events', event, [
    'User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
  ]);
  await pixel({ url: page }, [curl]);
  await collect({ url: page, ua: 'Googlebot/2.1' });
  expect(rig.events().map(({ bot }) => bot)).toEqual([undefined, undefined, 'Googlebot', 'curl', 'Googlebot']);
});

test('GEOIP_DB gives country and region, and nothing nearer', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-geo-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'city.mmdb');
  const berlin = { country: { iso_code: 'DE' }, subdivisions: [{ iso_code: 'BE' }], city: { names: { en: 'Berlin' } } };
  writeFileSync(file, buildMmdb({ '192.0.2.0/24': berlin, '198.51.100.0/25': { country: { iso_code: 'FR' } } }));
  const rig = await startRig(t, { env: { GEOIP_DB: file, DNT_MODE: 'anonymize' } });
  await pixel({ url: page });
  await pixel({ url: page }, [firefox, 'DNT: 1']);
  await post('/events', { site_id: 's', event_type: 'x' }, [curl]);
  await request(port, `/px.gif?url=${encodeURIComponent(page)}`, { headers: [firefox, from('198.51.100.1')] });
  const events = rig.events();
  for (const event of events.slice(0, 3)) expect(event).toMatchObject({ country: 'DE', region: 'DE-BE' });
  expect(events[3]).toMatchObject({ country: 'FR' });
  expect(events[3]).not.toHaveProperty('region');
  expect(rig.lane.lines.join()).not.toContain('Berlin');
});

test('a converted line that is larger than an event may be is refused like any other', async (t) => {
  const rig = await startRig(t, { env: { MAX_EVENT_BYTES: '1024' } });
  const title = 'x'.repeat(800);
  expect((await pixel({ url: page, title })).status).toBe(413);
  const answer = await collect([{ url: page, props: { title } }, { url: page }]);
  expect(answer.json()).toMatchObject({ accepted: 1, errors: [{ index: 0, code: 'EVENT_TOO_LARGE' }] });
  expect(rig.events()).toHaveLength(1);
});

test('a full lane refuses', async (t) => {
  const rig = await startRig(t);
  rig.lane.refuses = 'ring_full';
  expect((await pixel({ url: page })).status).toBe(429);
  expect((await collect({ url: page })).status).toBe(429);
  rig.lane.refuses = undefined;
  expect((await collect({ url: page })).status).toBe(202);
  expect(rig.events()).toHaveLength(1);
});

// Goal: a request that does not fit behind others is recorded once. Method: a draft that has room for one event.
test('a request that is encoded twice, because the draft was full, is recorded once', async (t) => {
  const rig = await startRig(t);
  rig.lane.mode = 'later';
  const first = pixel({ url: page, n: '1' });
  await expect.poll(() => rig.lane.held.length).toBe(1);
  rig.lane.draftBytesMax = 700;
  const second = pixel({ url: page, n: '2' });
  await expect.poll(() => rig.lane.held.length).toBe(2);
  expect(rig.lane.lines, 'the first was published to make room').toHaveLength(1);
  rig.lane.release('stored');
  expect([(await first).status, (await second).status]).toEqual([200, 200]);
  expect(rig.events()).toMatchObject([{ props: { n: '1' } }, { props: { n: '2' } }]);
  expect(rig.faults).toEqual([]);
});
