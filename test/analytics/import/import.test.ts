/**
 * Goal: a file that is imported counts once, whenever, however often and however far it was imported before, and what
 * cannot be read is said. Method: the tool in this process with a real Postgres, and from dist where memory is measured.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type pg from 'pg';
import { beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import service from '../../../src/analytics/analytics.ts';
import { readCombined } from '../../../src/analytics/import/combined.ts';
import { splitCsv } from '../../../src/analytics/import/csv.ts';
import { EventLines, type Imported } from '../../../src/analytics/import/events.ts';
import { runImport } from '../../../src/analytics/import/import-command.ts';
import { main } from '../../servers/collector.ts';
import { fastSettings, poolOf, startPostgres } from '../../servers/postgres.ts';
import { runProgram } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';
import { toolRun } from '../../service/tool/run.ts';
import { schema } from '../schema.ts';

const file = fileScope();
let dsn = '';
let pool: pg.Pool;
const folder = mkdtempSync(join(tmpdir(), 'ringmain-import-'));
let site = '';
let sites = 0;

beforeAll(async () => {
  ({ dsn } = await startPostgres(file, { port: 21_730, settings: fastSettings }));
  pool = poolOf(dsn);
  // The server goes while connections are saying good-bye.
  file.onTestFinished(() => pool.end());
  await pool.query(schema);
});
beforeEach(() => {
  site = `site-${++sites}`;
});

const CHROME = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
const GOOGLE = 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)';

interface Request {
  readonly address?: string;
  readonly time?: string;
  readonly request?: string;
  readonly status?: number;
  readonly referrer?: string;
  readonly agent?: string;
}
const line = ({
  address = '203.0.113.7',
  time = '15/Nov/2025:10:00:00 +0000',
  request = 'GET / HTTP/1.1',
  status = 200,
  referrer = '-',
  agent = CHROME,
}: Request = {}): string => `${address} - - [${time}] "${request}" ${status} 512 "${referrer}" "${agent}"`;

function written(name: string, lines: readonly string[], packed = false): string {
  const path = join(folder, `${site}-${name}`);
  const text = Buffer.from(lines.map((one) => `${one}\n`).join(''));
  writeFileSync(path, packed ? gzipSync(text) : text);
  return path;
}
const run = (format: string, ...files: readonly string[]) =>
  toolRun(() => runImport(service, [`--site=${site}`, `--format=${format}`, `--pg-dsn=${dsn}`, ...files]));

async function rows<T extends pg.QueryResultRow>(sql: string): Promise<T[]> {
  return (await pool.query<T>(sql, [site])).rows;
}
const OF_SITE = 'site = (SELECT site FROM sites WHERE site_id = $1)';
const stored = async () =>
  (await rows<{ n: number }>('SELECT count(*)::int AS n FROM events WHERE site_id = $1'))[0]!.n;
/** Views and visitors as they are counted. */
const counted = async () => {
  const sums = `SELECT coalesce(sum(views), 0)::int AS views, coalesce(sum(visits), 0)::int AS visits
    FROM rollups WHERE ${OF_SITE} AND dimension = 0 AND grain = 1`;
  return (await rows<{ views: number; visits: number }>(sums))[0]!;
};

test('an access log: pages alone, visitors apart, bots apart, times by their zones; a second run adds nothing', async () => {
  const path = written('access.log', [
    line({ request: 'GET /a?utm_source=mail&x=1 HTTP/1.1', referrer: 'https://www.google.com/' }),
    line({ request: 'GET /a?utm_source=mail&x=1 HTTP/1.1', referrer: 'https://www.google.com/' }),
    line({ request: 'GET /b HTTP/2.0', status: 304, time: '15/Nov/2025:12:10:00 +0200' }),
    line({ request: 'GET /b HTTP/1.1', address: '2001:db8::1', time: '16/Nov/2025:00:30:00 +0100' }),
    line({ request: 'GET /b HTTP/1.1', agent: GOOGLE }),
    ...['/app.js', '/style.css?v=1', '/pic.PNG', '/robots.txt'].map((asset) =>
      line({ request: `GET ${asset} HTTP/1.1` }),
    ),
    line({ request: 'POST /a HTTP/1.1' }),
    line({ request: 'GET /gone HTTP/1.1', status: 404 }),
    line({ request: '\\x16\\x03\\x01', status: 400 }),
    line({ request: 'GET /%E2%82%AC\\"\\xe2\\x82\\xac HTTP/1.1' }),
  ]);
  const first = await run('combined', path);
  expect(first).toEqual({ code: 0, said: expect.stringContaining('13 lines, 6 added, 7 not counted\n') });
  const found = await rows(
    'SELECT path, referrer, source, utm_source, device, browser, bot, visitor, "timestamp" AS at FROM events WHERE site_id = $1 ORDER BY "timestamp", path',
  );
  expect(found.map(({ path, at }) => [path, (at as Date).toISOString()])).toEqual([
    ['/%E2%82%AC"€', '2025-11-15T10:00:00.000Z'],
    ['/a', '2025-11-15T10:00:00.000Z'],
    ['/a', '2025-11-15T10:00:00.000Z'],
    ['/b', '2025-11-15T10:00:00.000Z'],
    ['/b', '2025-11-15T10:10:00.000Z'],
    ['/b', '2025-11-15T23:30:00.000Z'],
  ]);
  expect(found[1]).toMatchObject({
    referrer: 'https://www.google.com/',
    source: 'mail',
    utm_source: 'mail',
    device: 'desktop',
    browser: 'Chrome',
    bot: null,
  });
  expect(found[3]).toMatchObject({ bot: 'Googlebot' });
  const people = found.filter(({ bot }) => bot === null);
  expect(new Set(people.map(({ visitor }) => visitor)).size).toBe(2);
  expect(await counted()).toEqual({ views: 5, visits: 2 });
  // No address, and no salt to find one by.
  expect(JSON.stringify(found)).not.toContain('203.0.113.7');
  expect(await rows(`SELECT FROM imports WHERE ${OF_SITE}`)).toEqual([]);

  // Also packed, under another name, and after event_ids have forgotten everything.
  await pool.query('TRUNCATE event_ids');
  const again = await run(
    'combined',
    path,
    written('other.gz', (await import('node:fs')).readFileSync(path, 'utf8').trimEnd().split('\n'), true),
  );
  expect(again.said).toContain('13 lines, 0 added, 6 known before, 7 not counted');
  expect(await stored()).toBe(6);
  expect(await counted()).toEqual({ views: 5, visits: 2 });

  // The log has grown.
  const more = written('access.log.1', [line({ request: 'GET /c HTTP/1.1' })]);
  expect((await run('combined', path, more)).said).toContain('1 lines, 1 added');
  expect(await stored()).toBe(7);
});

test('a last line that is still being written counts once, wherever it was cut', async () => {
  const whole = line({ request: 'GET /b HTTP/1.1', referrer: 'https://from.example/x' });
  const path = join(folder, 'growing.log');
  const first = `${line({ request: 'GET /a HTTP/1.1' })}\n`;
  // Within the number of bytes, before the referrer, in it, behind the agent.
  for (const cut of [
    whole.indexOf(' 512') + 3,
    whole.indexOf(' 512') + 4,
    whole.indexOf('from.example'),
    whole.length,
  ]) {
    writeFileSync(path, first + whole.slice(0, cut));
    const { code, said } = await run('combined', path);
    expect(code).toBe(0);
    expect(said).toContain('the last line has no end yet: left to the next run');
    expect(await stored()).toBe(1);
  }
  writeFileSync(path, `${first}${whole}\n`);
  expect((await run('combined', path)).said).toContain('2 lines, 1 added, 1 known before\n');
  expect(await stored()).toBe(2);
  // Without the file to tell: a cut line is none, and a server may log more behind the agent.
  expect(typeof readCombined(whole.slice(0, whole.indexOf('from.example')))).toBe('string');
  expect(readCombined(`${whole} "203.0.113.9" 0.012`)).toMatchObject({ path: '/b', agent: CHROME });
});

test('systems and browsers of Plausible are called as they are here', async () => {
  const totals = (name: string, kind: string, names: readonly string[]) =>
    written(name, [
      `date,${kind},visitors,visits,visit_duration,bounces`,
      ...names.map((one) => `2024-01-01,${one},1,1,0,0`),
    ]);
  const paths = [
    totals('os', 'operating_system', ['Mac', 'GNU/Linux', 'Windows']),
    totals('browsers', 'browser', ['Microsoft Edge', 'Firefox']),
  ];
  expect((await run('plausible-csv', ...paths)).code).toBe(0);
  const found = await rows(`SELECT value FROM imported_days WHERE ${OF_SITE} ORDER BY value COLLATE "C"`);
  expect(found.map(({ value }) => value)).toEqual(['Edge', 'Firefox', 'Linux', 'Mac OS', 'Windows']);
});

test('lines of JSON: as POST /events takes them; their ids count once, whoever brought them', async () => {
  const id = '0193a000-0000-7000-8000-00000000abcd';
  const events = [
    {
      event_id: id,
      event_type: 'signup',
      path: '/x',
      user_id: 'u1',
      timestamp: '2025-11-15T05:00:00Z',
      props: { plan: 'pro' },
    },
    {
      event_type: 'page_view',
      url: 'https://a.example/p?utm_medium=cpc',
      timestamp: '2025-11-15T05:00:00+02:00',
      ip: '203.0.113.9',
      user_agent: CHROME,
    },
    {
      event_type: 'page_view',
      path: '/p',
      timestamp: '2025-11-15T05:00:00Z',
      site_id: 'another',
      received_at: '2025-11-15T05:00:00Z',
    },
  ];
  const path = written(
    'events.ndjson',
    events.map((event) => JSON.stringify(event)),
  );
  expect(await run('json', path)).toEqual({ code: 0, said: expect.stringContaining('3 lines, 3 added\n') });
  const found = await rows(
    'SELECT event_id, event_type, path, user_id, utm_medium, browser, props, visitor IS NOT NULL AS known FROM events WHERE site_id = $1 ORDER BY "timestamp", event_type DESC',
  );
  expect(found).toMatchObject([
    { event_type: 'page_view', path: '/p', utm_medium: 'cpc', browser: 'Chrome', known: true },
    { event_id: id, event_type: 'signup', user_id: 'u1', props: { plan: 'pro' } },
    { event_type: 'page_view', path: '/p', user_id: null, known: false },
  ]);
  const spaced = written('again.ndjson', [JSON.stringify({ ...events[0], more: 1 })]);
  expect((await run('json', path, spaced)).said).toMatch(/3 known before\n.*1 lines, 0 added, 1 known before/s);
  expect(await stored()).toBe(3);
});

test('bad lines are counted and listed, up to a bound; a file of nothing else fails', async () => {
  const bad = [
    '{',
    '[]',
    '{"event_type":"a"}',
    '{"event_type":"","timestamp":"2025-11-15T05:00:00Z"}',
    '{"event_type":"a","timestamp":"yesterday"}',
    '{"event_type":"a","timestamp":"2025-11-15T05:00:00Z","event_id":"7"}',
  ];
  const good = '{"event_type":"a","timestamp":"2025-11-15T05:00:00Z"}';
  const { code, said } = await run(
    'json',
    written('mixed', [...bad, '', good, ...Array<string>(20).fill('nothing'), 'x'.repeat(300_000)]),
  );
  expect(code).toBe(0);
  expect(said).toContain('29 lines, 1 added, 1 not counted, 27 bad\n');
  expect(said).toContain(
    '  line 1: the line must be JSON\n  line 2: the value must be a JSON object\n  line 3: timestamp must be',
  );
  expect(said).toContain('  line 6: event_id must be a UUID\n');
  expect(said.match(/^ {2}line/gm)).toHaveLength(10);
  expect(said).toContain('  and 17 more\n');
  const { code: failed, said: words } = await run(
    'combined',
    written('noise', ['what is this', line({ time: '31/Feb/2025:10:00:00 +0000' })]),
  );
  expect(failed).toBe(1);
  expect(words).toContain('line 1: a line must be in the combined format: found=what is this');
  expect(words).toContain('line 2: the time must be like 10/Oct/2025:13:55:36 +0200: found=31/Feb/2025:10:00:00 +0000');
});

test('lines that are older than the site keeps its events are bad', async () => {
  const old = '{"event_type":"a","timestamp":"2020-01-01T00:00:00Z"}';
  await run('json', written('one', [old]));
  await pool.query('UPDATE sites SET retention_days = 30 WHERE site_id = $1', [site]);
  const refused = [1, expect.stringContaining('line 1: timestamp must not be older than')];
  const two = await run('json', written('two', [`${old} `]));
  expect([two.code, two.said]).toEqual(refused);
  // Its days were deleted, and stay so when the retention ends.
  await pool.query('INSERT INTO kept_from SELECT site, 20000 FROM sites WHERE site_id = $1', [site]);
  await pool.query('UPDATE sites SET retention_days = NULL WHERE site_id = $1', [site]);
  const three = await run('json', written('three', [`${old} `]));
  expect([three.code, three.said]).toEqual(refused);
});

test('a log that is written to while it is imported has its own times', () => {
  const started = Date.UTC(2026, 10, 20, 10);
  let nowMs = started;
  const any = { ageMsMax: Number.POSITIVE_INFINITY, keptFromMs: Number.NEGATIVE_INFINITY };
  const lines = new EventLines({ siteId: 'a', site: 1, salt: Buffer.alloc(32), ...any, now: () => nowMs });
  const timeOf = (minute: number) => {
    const read = lines.combined(line({ time: `20/Nov/2026:10:${String(minute).padStart(2, '0')}:00 +0000` }));
    return ((read as Imported).event.timestampMs - started) / 60_000;
  };
  // By a clock that is wrong.
  expect(timeOf(20)).toBe(0);
  nowMs += 20 * 60_000;
  expect([timeOf(20), timeOf(24), timeOf(26)]).toEqual([20, 24, 20]);
});

test('interrupted, it says so; run again, it adds what is missing, with the same visitors', async () => {
  const lines = Array.from({ length: 20_000 }, (_, i) =>
    line({
      address: `203.0.113.${i % 50}`,
      request: `GET /p${i % 7} HTTP/1.1`,
      time: `15/Nov/2025:10:${String(Math.floor(i / 400)).padStart(2, '0')}:00 +0000`,
    }),
  );
  const path = written('long.log', lines);
  const env = { PATH: process.env['PATH'], DATABASE_URL: dsn };
  const tool = spawn(process.execPath, [main, 'import', `--site=${site}`, '--format=combined', path], { env });
  onTestFinished(() => void tool.kill('SIGKILL'));
  let said = '';
  tool.stderr.on('data', (text) => (said += text));
  const known = `SELECT count(*)::int AS n FROM import_lines WHERE ${OF_SITE}`;
  await expect.poll(async () => (await rows<{ n: number }>(known))[0]!.n).toBeGreaterThan(0);
  tool.kill('SIGINT');
  const [code] = await once(tool, 'close');
  expect(code).toBe(130);
  expect(said).toContain('interrupted: run the same command again, it adds what is missing');
  const halfway = await stored();
  expect(halfway).toBeGreaterThan(0);
  expect(halfway).toBeLessThan(lines.length);
  const again = await run('combined', path);
  expect(again.code).toBe(0);
  expect(await stored()).toBe(lines.length);
  expect(await counted()).toEqual({ views: lines.length, visits: 50 });
  expect(await rows(`SELECT FROM imports WHERE ${OF_SITE}`)).toEqual([]);
});

test('a visitor is the same within a day, and on the next day somebody else', async () => {
  const days = ['15', '15', '16'].map((day, i) =>
    line({ request: `GET /${i} HTTP/1.1`, time: `${day}/Nov/2025:10:00:00 +0000` }),
  );
  expect((await run('combined', written('days.log', days))).code).toBe(0);
  const found = await rows<{ visitor: string }>('SELECT visitor FROM events WHERE site_id = $1 ORDER BY path');
  const [first, second, third] = found.map(({ visitor }) => visitor);
  expect(second).toBe(first);
  expect(third).not.toBe(first);
});

test('a site is imported by one at a time; the other is told, and its file waits', async () => {
  const env = { PATH: process.env['PATH'], DATABASE_URL: dsn };
  const words = ['import', `--site=${site}`, '--format=combined', '-'];
  const tool = spawn(process.execPath, [main, ...words], { env, stdio: ['pipe', 'ignore', 'ignore'] });
  onTestFinished(() => void tool.kill('SIGKILL'));
  // It reads on: what came first waits for the rest of its batch.
  tool.stdin.write(`${line()}\n`);
  const begun = `SELECT count(*)::int AS n FROM imports WHERE ${OF_SITE}`;
  await expect.poll(async () => (await rows<{ n: number }>(begun))[0]!.n).toBe(1);
  const path = written('other.log', [line({ request: 'GET /other HTTP/1.1' })]);
  expect(await run('combined', path)).toEqual({
    code: 1,
    said: `one import of a site runs at a time, and another one is running: site=${site}`,
  });
  tool.stdin.end();
  expect((await once(tool, 'close'))[0]).toBe(0);
  expect((await run('combined', path)).code).toBe(0);
  expect(await stored()).toBe(2);
});

const visitors = [
  '"date","visitors","pageviews","bounces","visits","visit_duration"',
  '"2024-01-01",10,30,4,12,600',
  '"2024-01-02",20,50,5,25,1000',
];

test('a value of Plausible that no key holds is cut, and the others of its file are imported', async () => {
  const long = Array.from({ length: 2000 }, (_, i) => String.fromCodePoint(0x4e00 + ((i * 7919) % 20_000))).join('');
  const lines = [
    'date,hostname,page,visitors,visits,pageviews',
    `2024-01-01,a,/${long},1,1,1`,
    `2024-01-01,a,/${'c'.repeat(256 * 1024)},1,1,1`,
    '2024-01-01,a,/b,1,1,1',
  ];
  expect(await run('plausible-csv', written('long', lines))).toEqual({
    code: 0,
    said: expect.stringMatching(/ 1 bad\n {2}line 3: the line must not be that long\n/),
  });
  const found = await rows<{ value: string }>(
    `SELECT value FROM imported_days WHERE ${OF_SITE} ORDER BY length(value)`,
  );
  expect(found.map(({ value }) => value)).toEqual(['/b', `/${long.slice(0, 799)}`]);
});

test("Plausible's daily totals: one table for each kind, replaced by the next import of the kind", async () => {
  const pages = [
    'date,visits,hostname,page,visitors,pageviews,exits',
    '2024-01-01,5,a.example,"/a, ""b""",4,6,1',
    '2024-01-01,5,b.example,"/a, ""b""",1,2,1',
  ];
  const sources = [
    'date,source,referrer,utm_source,utm_medium,utm_campaign,utm_content,utm_term,pageviews,visitors,visits,visit_duration,bounces',
    '2024-01-01,Google,google.com,,cpc,,,,9,5,6,60,2',
    '2024-01-01,,,,,,,,9,3,4,60,2',
  ];
  const entry = ['date,entry_page,visitors,entrances,visit_duration,bounces', '2024-01-01,/in,3,4,50,1'];
  const events = ['date,name,link_url,path,visitors,events', '2024-01-01,Signup,,/x,2,3'];
  const devices = ['date,device,visitors,visits,visit_duration,bounces', '2024-01-01,Mobile,7,8,9,1'];
  const files = [
    ['v', visitors],
    ['p', pages],
    ['s', sources],
    ['e', entry],
    ['c', events],
    ['d', devices],
  ] as const;
  const paths = files.map(([name, lines]) => written(name, lines));
  expect((await run('plausible-csv', ...paths)).code).toBe(0);
  const all = () =>
    rows(
      `SELECT kind, dimension, value, visitors::int, visits::int, views::int, bounces::int, duration_ms::int AS ms, events::int FROM imported_days WHERE ${OF_SITE} ORDER BY kind, dimension, day, value`,
    );
  const before = await all();
  expect(before).toEqual([
    {
      kind: 'custom_events',
      dimension: 17,
      value: 'Signup',
      visitors: 2,
      visits: 0,
      views: 0,
      bounces: 0,
      ms: 0,
      events: 3,
    },
    {
      kind: 'devices',
      dimension: 14,
      value: 'mobile',
      visitors: 7,
      visits: 8,
      views: 0,
      bounces: 1,
      ms: 9000,
      events: 0,
    },
    {
      kind: 'entry_pages',
      dimension: 3,
      value: '/in',
      visitors: 3,
      visits: 4,
      views: 0,
      bounces: 1,
      ms: 50_000,
      events: 0,
    },
    { kind: 'pages', dimension: 2, value: '/a, "b"', visitors: 5, visits: 10, views: 8, bounces: 0, ms: 0, events: 8 },
    {
      kind: 'sources',
      dimension: 5,
      value: 'google.com',
      visitors: 5,
      visits: 6,
      views: 9,
      bounces: 2,
      ms: 60_000,
      events: 9,
    },
    { kind: 'sources', dimension: 6, value: '', visitors: 3, visits: 4, views: 9, bounces: 2, ms: 60_000, events: 9 },
    {
      kind: 'sources',
      dimension: 6,
      value: 'Google',
      visitors: 5,
      visits: 6,
      views: 9,
      bounces: 2,
      ms: 60_000,
      events: 9,
    },
    {
      kind: 'sources',
      dimension: 8,
      value: 'cpc',
      visitors: 5,
      visits: 6,
      views: 9,
      bounces: 2,
      ms: 60_000,
      events: 9,
    },
    {
      kind: 'visitors',
      dimension: 0,
      value: '',
      visitors: 10,
      visits: 12,
      views: 30,
      bounces: 4,
      ms: 600_000,
      events: 30,
    },
    {
      kind: 'visitors',
      dimension: 0,
      value: '',
      visitors: 20,
      visits: 25,
      views: 50,
      bounces: 5,
      ms: 1_000_000,
      events: 50,
    },
  ]);
  await run('plausible-csv', ...paths);
  expect(await all()).toEqual(before);
  // Two files of a kind add up; those of before are gone, those of other kinds stay.
  const bad = '2024-02-30,1,1,1,1,1';
  const { said } = await run(
    'plausible-csv',
    written('v1', [visitors[0]!, visitors[1]!]),
    written('v2', [visitors[0]!, '2025-01-01,1,1,1,1,1', bad, '2025-01-02,-1,1,1,1,1']),
  );
  expect(said).toContain(
    'line 3: date must be like 2025-11-15: found=2024-02-30\n  line 4: totals must be whole numbers from 0 on\n',
  );
  const days = `SELECT day FROM imported_days WHERE ${OF_SITE} AND kind = 'visitors' ORDER BY day`;
  expect((await rows(days)).map(({ day }) => new Date(day * 86_400_000).toISOString().slice(0, 10))).toEqual([
    '2024-01-01',
    '2025-01-01',
  ]);
  expect((await all()).length).toBe(10);
  const none = await run('plausible-csv', written('what', ['a,b', '1,2']));
  expect(none).toEqual({ code: 1, said: expect.stringContaining('the first line must name the columns') });
});

test('mistakes are said in one line, with their exit codes', async () => {
  const log = written('one.log', [line()]);
  const said = async (...argv: readonly string[]) => toolRun(() => runImport(service, [...argv, `--pg-dsn=${dsn}`]));
  expect(await said('--site=a', '--format=csv', log)).toEqual({
    code: 64,
    said: expect.stringContaining('--format must be one of combined, json, plausible-csv: found=csv'),
  });
  expect(await said('--format=json', log)).toEqual({
    code: 64,
    said: expect.stringContaining('a site id must be 1 to 100 characters'),
  });
  expect(await said('--site=a', '--format=json')).toEqual({
    code: 64,
    said: expect.stringContaining('at least one file'),
  });
  expect((await said('--site=a', '--format=json', join(folder, 'nowhere'))).code).not.toBe(0);
  const torn = join(folder, 'torn.gz');
  writeFileSync(torn, gzipSync('{"event_type":"a"}\n'.repeat(100)).subarray(0, 40));
  expect((await said('--site=a', '--format=json', torn)).said).toContain('torn.gz');
  await pool.query("INSERT INTO sites (site_id, registered) VALUES ('known', true)");
  expect(await run('combined', log)).toEqual({
    code: 1,
    said: `the site must be registered, since others are: site=${site}; ringmain site add ${site}`,
  });
  await pool.query("DELETE FROM sites WHERE site_id = 'known'");
  const help = await toolRun(() => runImport(service, ['--help']));
  expect(help.code).toBe(0);
  expect(help.said).toContain('--format=FORMAT   combined');
  expect(Math.max(...help.said.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(120);
});

test('200,000 lines take no more memory than 20,000', async () => {
  const path = join(folder, 'big.log');
  const out = createWriteStream(path);
  for (let i = 0; i < 200_000; i += 1) {
    // One of twenty is a page.
    const request = i % 20 === 0 ? `GET /p${i % 400} HTTP/1.1` : `GET /asset-${i}.js HTTP/1.1`;
    const time = new Date(Date.UTC(2025, 10, 15) + i * 100).toISOString();
    out.write(`${line({ address: `10.0.${i % 256}.1`, request, time: `15/Nov/2025:${time.slice(11, 19)} +0000` })}\n`);
  }
  await new Promise<void>((resolve) => out.end(resolve));
  const env = { PATH: process.env['PATH'], DATABASE_URL: dsn, NODE_OPTIONS: '--max-old-space-size=64' };
  await runProgram(process.execPath, [main, 'import', `--site=${site}`, '--format=combined', path], {
    env,
    timeoutMs: 120_000,
  } as never);
  expect(await stored()).toBe(10_000);
});

test('a combined line and a line of CSV are taken apart', () => {
  expect(readCombined('h - bob [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 200 -')).toMatchObject({
    path: '/a',
    agent: '',
    timeMs: Date.UTC(2000, 9, 10, 20, 55, 36),
  });
  expect(readCombined(line({ request: 'GET http://a.example/x?y#z HTTP/1.1' }))).toMatchObject({
    path: '/x',
    query: 'y',
  });
  expect(readCombined(line({ request: 'GET http://a.example HTTP/1.1' }))).toMatchObject({ path: '/' });
  expect(splitCsv('a,"b ""c"", d",,')).toEqual(['a', 'b "c", d', '', '']);
  expect(splitCsv('"a')).toBeUndefined();
});
