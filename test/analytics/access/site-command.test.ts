/** `ringmain site` against a real Postgres: each command, what it refuses, and what it says. */
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { digestOf, makeKey, parseKey } from '../../../src/access/api-key.ts';
import { runSite } from '../../../src/analytics/access/site-command.ts';
import service from '../../../src/analytics/analytics.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { migrateUp } from '../../../src/store/postgres/migrate.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { type ToolRun, toolRun } from '../../service/tool/run.ts';

const PORT = 21702;
const PEPPER = '0123456789abcdef0123456789abcdef';
const folder = new URL('../../../src/analytics/migrations/', import.meta.url);
let server: PostgresServer;
let link: PostgresLink;
const undo: (() => unknown)[] = [];
beforeAll(async () => {
  server = await startPostgres(
    { onTestFinished: (fn) => undo.push(fn) },
    { port: PORT, settings: fastSettings, own: true },
  );
  await migrateUp({ dsn: server.dsn, service: 'analytics', folder, tell: () => undefined });
  link = await openLink(server.dsn);
});
afterAll(async () => {
  await link.close();
  for (const fn of undo.reverse()) await fn();
});
beforeEach(async () => {
  await link.query('TRUNCATE sites, site_changes, events, rollups, kept_from, accepted_hours, outcome_hours CASCADE');
});

const site = (...argv: string[]): Promise<ToolRun> =>
  toolRun(() => runSite(service, [...argv, `--pg-dsn=${server.dsn}`, `--key-pepper=${PEPPER}`]));
const done = async (...argv: string[]): Promise<string> => {
  const { code, said } = await site(...argv);
  expect(said).not.toMatch(/\n {4}at /);
  expect({ code, said }).toEqual({ code: 0, said });
  return said;
};
const json = async <T>(...argv: string[]): Promise<T> => JSON.parse(await done(...argv, '--json')) as T;
const version = async (): Promise<number> =>
  Number((await link.query<{ v: string }>('SELECT coalesce(max(version), 0) AS v FROM site_changes')).rows[0]!.v);
const keyIn = (said: string): string => said.trim().split('\n').at(-1)!;

test('who leaves a word out is told of it first, whatever else is missing, and by 64', async () => {
  const { code, said } = await toolRun(() => runSite(service, ['key']));
  expect({ code, said }).toEqual({
    code: 64,
    said: expect.stringMatching(/^ringmain site key takes SITE_ID --scope=ingest\|read: found=none\nDATABASE_URL/),
  });
});

test('a database that lets nobody in is a matter of the configuration', async () => {
  const { code, said } = await toolRun(() =>
    runSite(service, ['list', `--database-url=${server.dsn.replace(/:[^:@/]*@/, ':wrong@')}`]),
  );
  expect({ code, said }).toEqual({
    code: 78,
    said: expect.stringMatching(/^127\.0\.0\.1:\d+: password authentication/),
  });
});

test('a site is added, changed by what is given, and listed', async () => {
  expect(await done('list')).toBe('no site is registered: everybody may send and read\n');
  expect(await done('add', 'shop.example')).toBe(
    'shop.example is registered\nit is the first: events of other sites are refused from now on, and statistics need a read key\n',
  );
  expect(await done('add', 'next.example')).toBe('next.example is registered\n');
  expect(await done('rm', 'next.example', '--yes')).toBe('next.example is not registered any more\n');
  expect(await done('add', 'shop.example')).toBe('shop.example was registered before\n');
  const flags = [
    '--origin=https://shop.example,https://*.shop.example',
    '--time-zone=Europe/Berlin',
    '--retention-days=30',
  ];
  expect(await done('add', 'shop.example', ...flags)).toBe('shop.example is changed\n');
  await done('add', 'shop.example', '--retention-days=none');
  expect(await json('list')).toMatchObject([
    {
      site_id: 'shop.example',
      registered: true,
      origins: ['https://shop.example', 'https://*.shop.example'],
      time_zone: 'Europe/Berlin',
      retention_days: null,
      aliases: [],
      ingest_keys: 0,
      read_keys: 0,
    },
  ]);
  await done('add', 'shop.example', '--origin=none');
  expect(await done('list')).toMatch(/^SITE +ORIGINS .*\nshop\.example +- +0 +0 +Europe\/Berlin +- +-\n$/);
});

test('a site that events have made is listed by --all, and registered by add', async () => {
  await link.query("INSERT INTO sites (site_id) VALUES ('wild')");
  expect(await version()).toBe(0);
  expect(await json('list')).toEqual([]);
  expect(await json('list', '--all')).toMatchObject([{ site_id: 'wild', registered: false }]);
  await done('add', 'wild');
  expect(await version()).toBeGreaterThan(0);
  expect(await json('list')).toMatchObject([{ site_id: 'wild', registered: true }]);
});

test('a key is shown once, kept as its digest, listed and revoked by its id', async () => {
  await done('add', 'shop.example');
  const before = await version();
  const said = await done('key', 'shop.example', '--scope=ingest', '--label=server', '--expires=90d');
  expect(await version()).toBeGreaterThan(before);
  const key = parseKey(keyIn(said))!;
  expect(said).toBe(`key ${key.id} of shop.example (ingest); keep it now, it is not shown again:\n${key.text}\n`);
  const { rows } = await link.query<{ digest: Buffer; text: string }>(
    'SELECT digest, k::text AS text FROM site_keys k',
  );
  expect(rows[0]!.digest).toEqual(digestOf(PEPPER, key));
  expect(rows[0]!.text).not.toContain(key.text.split('_')[3]!);
  const keys = await json<{ created_at: string; expires_at: string }[]>('keys', 'shop.example');
  expect(keys).toMatchObject([{ key_id: key.id, scope: 'ingest', state: 'valid', label: 'server' }]);
  const [{ created_at, expires_at }] = keys as [{ created_at: string; expires_at: string }];
  expect(Math.round((Date.parse(expires_at) - Date.parse(created_at)) / 1000)).toBe(90 * 86_400);
  expect(await done('keys')).toMatch(new RegExp(`^KEY .*\n${key.id}  shop\\.example  ingest  valid .* server\n$`));
  // Who pastes the whole key means it.
  expect(await done('revoke', key.text)).toBe(`key ${key.id} of shop.example is revoked\n`);
  expect(await done('revoke', key.id)).toBe(`key ${key.id} of shop.example was revoked before\n`);
  expect(await json('keys')).toMatchObject([{ state: 'revoked' }]);
});

test('a renamed site keeps its keys, and its old names lead to it; nobody else gets one', async () => {
  await done('add', 'old');
  await done('add', 'other');
  await done('key', 'old', '--scope=read');
  expect(await done('rename', 'old', 'new')).toBe('old is called new now; old leads to it as well\n');
  expect(await json('list')).toMatchObject([{ site_id: 'new', aliases: ['old'], read_keys: 1 }, { site_id: 'other' }]);
  expect(await json('keys', 'old')).toMatchObject([{ site_id: 'new' }]);
  const refusals = [
    [['add', 'old'], 'old is an earlier name of another site: site=new'],
    [['rename', 'old', 'x'], 'old is an earlier name: the site is called new now'],
    [['rename', 'other', 'old'], 'old is the name of another site: site=new; two sites cannot become one'],
    [['rename', 'other', 'new'], 'new is the name of another site: site=new; two sites cannot become one'],
    [['rm', 'old', '--yes'], 'old is an earlier name: the site is called new now'],
  ] as const;
  for (const [argv, said] of refusals) expect(await site(...argv)).toEqual({ code: 1, said });
  await done('rename', 'new', 'old');
  expect(await json('list')).toMatchObject([{ site_id: 'old', aliases: ['new'] }, { site_id: 'other' }]);
});

test('rm explains first, then ends the registration, and with --data deletes what is stored of that site alone', async () => {
  for (const name of ['gone', 'kept']) {
    await done('add', name);
    await done('key', name, '--scope=ingest');
    await link.query(
      `INSERT INTO events (site_id, event_type, "timestamp", event_id, received_at, site)
       SELECT $1::text, 'page_view', '2025-11-15Z', gen_random_uuid(), now(), (SELECT site FROM sites WHERE site_id = $1)
       FROM generate_series(1, 5003)`,
      [name],
    );
    await link.query(
      'INSERT INTO rollups (site, dimension, grain, t, value) SELECT site, 0, 1, 1, 1 FROM sites WHERE site_id = $1',
      [name],
    );
    await link.query('INSERT INTO kept_from SELECT site, 1 FROM sites WHERE site_id = $1', [name]);
    await link.query('INSERT INTO accepted_hours VALUES ($1, 1, 5003)', [name]);
  }
  const asked = await site('rm', 'gone', '--data');
  expect(asked).toEqual({
    code: 1,
    said: 'this would end the registration of gone with 1 keys that work, and everything that is stored of it: events, statistics, names; --yes does it\n',
  });
  expect(await json('list')).toHaveLength(2);
  await done('rm', 'gone', '--yes');
  expect(await json('list')).toMatchObject([{ site_id: 'kept' }]);
  expect(await json('keys')).toHaveLength(1);
  expect((await link.query('SELECT FROM events')).rowCount).toBe(10_006);
  expect(await done('rm', 'gone', '--yes', '--data')).toBe(
    'gone is not registered any more\n5006 rows of gone are deleted\n',
  );
  for (const table of ['events', 'accepted_hours'])
    expect((await link.query(`SELECT DISTINCT site_id FROM ${table}`)).rows).toEqual([{ site_id: 'kept' }]);
  for (const table of ['rollups', 'kept_from']) expect((await link.query(`SELECT FROM ${table}`)).rowCount).toBe(1);
  expect(await json('list', '--all')).toMatchObject([{ site_id: 'kept', ingest_keys: 1 }]);
  expect(await done('rm', 'kept', '--yes')).toMatch(/\nno site is registered now: everybody may send and read\n$/);
});

/** What a site has in each table that has rows of sites: $1 is its name, `of` its number. */
const of = '(SELECT site FROM sites WHERE site_id = $1::text)';
const rowsOfSite: Readonly<Record<string, string>> = {
  accepted_hours: 'SELECT $1::text, 1, 1',
  day_columns: `SELECT ${of}, 1, 'path', 1, ''::bytea`,
  dimension_values: `SELECT ${of}, 2, 1, '/'`,
  events: `(site_id, event_type, "timestamp", event_id, received_at, site)
    SELECT $1::text, 'page_view', '2025-11-15Z', gen_random_uuid(), now(), ${of}`,
  goals: `(site, kind, match, name) SELECT ${of}, 'path', '/', 'home'`,
  import_lines: `SELECT ${of}, gen_random_uuid()`,
  imported_days: `SELECT ${of}, 'pages', 2, 1, '/'`,
  imports: `SELECT ${of}, ''::bytea`,
  kept_from: `SELECT ${of}, 1`,
  outcome_hours: 'SELECT $1::text, 1, 1',
  refused_events: 'SELECT gen_random_uuid(), 1, 1, $1::text, 1',
  rollups: `(site, dimension, grain, t, value) SELECT ${of}, 0, 1, 1, 1`,
  site_days: `SELECT ${of}, 1`,
  site_keys: `(key_id, site, scope, digest) SELECT $1::text, ${of}, 'read', ''::bytea`,
  site_shares: `(share_id, site, digest) SELECT $1::text, ${of}, convert_to($1::text, 'UTF8')`,
  user_gaps: `SELECT ${of}, 0, 1, 1, 1`,
  visitor_days: `SELECT ${of}, 1, gen_random_uuid(), ''::bytea`,
};

test('rm --data leaves nothing of the site in any table that has rows of sites, and all of others', async () => {
  const { rows: tables } = await link.query<{ name: string }>(
    `SELECT DISTINCT c.relname AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND a.attname IN ('site', 'site_id') ORDER BY 1`,
  );
  const names = tables.map(({ name }) => name);
  // site_changes says of a number that it is gone; the other two are what is removed and added here.
  const others = ['site_changes', 'site_names', 'sites'];
  expect(names).toEqual([...Object.keys(rowsOfSite), ...others].sort());
  await link.query(`TRUNCATE ${names.join(', ')}`);
  const columns = async (table: string) =>
    (
      await link.query<{ site_id: string }>(
        `SELECT coalesce(to_jsonb(one)->>'site_id', s.site_id) AS site_id FROM ${table} one
         LEFT JOIN sites s ON s.site = (to_jsonb(one)->>'site')::int ORDER BY 1`,
      )
    ).rows.map((row) => row.site_id);
  for (const name of ['gone', 'kept']) {
    await done('add', name);
    for (const [table, row] of Object.entries(rowsOfSite)) await link.query(`INSERT INTO ${table} ${row}`, [name]);
  }
  for (const table of Object.keys(rowsOfSite)) expect(await columns(table), table).toEqual(['gone', 'kept']);
  await done('rm', 'gone', '--yes', '--data');
  for (const table of [...Object.keys(rowsOfSite), 'site_names', 'sites'])
    expect(await columns(table), table).toEqual(['kept']);
});

test('what is not understood or not there is one line, and nothing is changed', async () => {
  await done('add', 'shop');
  const before = await version();
  const rows: readonly (readonly [argv: readonly string[], code: number, said: RegExp])[] = [
    [['add'], 64, /takes SITE_ID: found=none/],
    [['add', 'a', 'b'], 64, /takes SITE_ID: found=a b/],
    [['add', 'x'.repeat(101)], 64, /1 to 100 characters/],
    [['add', 'a\nb'], 64, /control character: found="a\\nb"/],
    [['add', 'a', '--origin=shop.example'], 64, /--origin: an origin begins with a scheme/],
    [['add', 'a', '--origin=*,https://a.example'], 64, /either \* or a list/],
    [['add', 'a', '--time-zone=Mars/Olympus'], 64, /IANA database, like Europe\/Berlin: found=Mars\/Olympus/],
    [['add', 'a', '--time-zone=+01:00'], 64, /IANA/],
    [['add', 'a', '--retention-days=0'], 64, /1 to 36500/],
    [['key', 'shop'], 64, /--scope must be one of ingest, read: found=none/],
    [['key', 'shop', '--scope=write'], 64, /found=write/],
    [['key', 'shop', '--scope=read', '--expires=2020-01-01'], 64, /in the future/],
    [['key', 'shop', '--scope=read', '--expires=soon'], 64, /in the future/],
    [['key', 'nosuch', '--scope=read'], 1, /there is no such site: site=nosuch/],
    [['keys', 'nosuch'], 1, /there is no such site/],
    [['revoke', 'nosuch'], 1, /there is no such key: id=nosuch/],
    [['rename', 'nosuch', 'b'], 1, /there is no such site/],
    [['rename', 'shop'], 64, /takes SITE_ID NEW_SITE_ID/],
    [['rm', 'nosuch', '--yes'], 1, /there is no such site/],
    [['ad', 'x'], 64, /did you mean add/],
    [['add', "x' OR 1=1; DROP TABLE sites; --", '--time-zone=UTC;'], 64, /IANA/],
  ];
  for (const [argv, code, said] of rows) {
    const run = await site(...argv);
    expect(run.code, argv.join(' ')).toBe(code);
    expect(run.said).toMatch(said);
  }
  expect(await version()).toBe(before);
  await done('add', "x' OR 1=1; DROP TABLE sites; --");
  expect(await json('list')).toHaveLength(2);
});

test('a revoked key that was pasted wrongly is not echoed with its secret', async () => {
  const { text, id } = makeKey('rm', 'live');
  const { said } = await site('revoke', text);
  expect(said).toContain(`id=${id};`);
  expect(said).not.toContain(text.split('_')[3]!);
});

test('without a pepper no key is made; without a database or its tables one line says what is missing', async () => {
  await done('add', 'shop');
  const run = (...argv: string[]) => toolRun(() => runSite(service, argv));
  const bare = await run('key', 'shop', '--scope=read', `--pg-dsn=${server.dsn}`);
  expect(bare.code).toBe(78);
  expect(bare.said).toMatch(/^KEY_PEPPER \(or KEY_PEPPER_FILE\) must be set before keys are made/);
  expect(await run('list')).toEqual({
    code: 78,
    said: 'DATABASE_URL (or PG_DSN) must be set: analytics keeps everything in Postgres',
  });
  const away = await run('list', '--pg-dsn=postgres://postgres@127.0.0.1:1/x');
  expect(away.code).toBe(75);
  expect(away.said).toMatch(/^the database cannot be used now: .*127\.0\.0\.1:1.*; run it again/);
  const empty = server.dsn.replace(/\/postgres$/, '/template1');
  expect(await run('list', `--pg-dsn=${empty}`)).toEqual({
    code: 1,
    said: 'the tables must be there first: ringmain migrate analytics up',
  });
});

test('each command has help with its flags, exit codes and an example; the list names them all', async () => {
  const names = ['add', 'list', 'key', 'keys', 'revoke', 'rm', 'rename'];
  const overview = await toolRun(() => runSite(service, ['--help']));
  expect(overview.code).toBe(0);
  for (const name of names) {
    expect(overview.said).toContain(`\nringmain site ${name}`);
    const { code, said } = await toolRun(() => runSite(service, [name, '--help']));
    expect(code).toBe(0);
    expect(said).toMatch(/\n\nexit codes\n {4}0 .*\n {4}1 .*\n {4}64 .*\n {4}75 .*\n {4}78 /s);
    expect(said).toContain(`example\n    ringmain site ${name}`);
    expect(Math.max(...said.split('\n').map(({ length }) => length)), name).toBeLessThanOrEqual(120);
  }
  expect((await toolRun(() => runSite(service, ['rm', '--help']))).said).toMatch(/\n {4}--yes {2,}do it\n/);
  expect((await toolRun(() => runSite(service, []))).code).toBe(64);
});

test('versions of changes rise in the order in which they become visible', async () => {
  await done('add', 'a');
  await done('add', 'b');
  const before = await version();
  const other = await openLink(server.dsn);
  onTestFinished(() => other.close());
  const rename = (on: PostgresLink, name: string) =>
    on.query('UPDATE sites SET time_zone = $2 WHERE site_id = $1', [name, 'Asia/Kathmandu']);
  await link.query('BEGIN');
  await rename(link, 'a');
  let second = false;
  const waits = rename(other, 'b').then(() => {
    second = true;
  });
  // The second change waits for the first to be decided, so that no lower version becomes visible after a higher one.
  await expect.poll(async () => (await openAndCount(server.dsn)) > 0).toBe(true);
  expect(second).toBe(false);
  await link.query('COMMIT');
  await waits;
  const { rows } = await link.query<{ site_id: string; version: string }>(
    'SELECT site_id, version FROM site_changes JOIN sites USING (site) WHERE version > $1 ORDER BY version',
    [before],
  );
  expect(rows.map(({ site_id }) => site_id)).toEqual(['a', 'b']);
});

/** Sessions that wait for the lock of site_changes. */
async function openAndCount(dsn: string): Promise<number> {
  const watch = await openLink(dsn);
  try {
    const { rows } = await watch.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM pg_locks WHERE relation = 'site_changes'::regclass AND NOT granted",
    );
    return rows[0]!.n;
  } finally {
    await watch.close();
  }
}

test('the time zone of a site is set by its IANA name', async () => {
  await done('add', 'shop.example');
  expect(await done('zone', 'shop.example', 'europe/berlin')).toBe('days of shop.example are those of Europe/Berlin\n');
  expect(await done('zone', 'shop.example', 'Asia/Kathmandu')).toBe(
    'days of shop.example are those of Asia/Kathmandu\n',
  );
  expect(await json('list')).toMatchObject([{ time_zone: 'Asia/Kathmandu' }]);
  for (const zone of ['Mars/Olympus', '+05:45', '']) {
    const { code, said } = await site('zone', 'shop.example', zone);
    expect(code).toBe(64);
    expect(said).toContain(`must be a name of the IANA database, like Europe/Berlin: found=${zone}`);
  }
  expect((await site('zone', 'other.example', 'UTC')).code).toBe(1);
});

test('goals are added, listed and removed; a name stands for one goal', async () => {
  await done('add', 'shop.example');
  expect(await done('goal', 'list', 'shop.example')).toBe('no goals\n');
  await done('goal', 'add', 'shop.example', '--event=purchase', '--name=Bought');
  await done('goal', 'add', 'shop.example', '--path=/thanks/**');
  await done('goal', 'add', 'shop.example', '--event=purchase', '--name=Bought');
  const goals = [
    { kind: 'event', match: 'purchase', name: 'Bought' },
    { kind: 'path', match: '/thanks/**', name: '/thanks/**' },
  ];
  expect(await json('goal', 'list', 'shop.example')).toMatchObject(goals);
  const taken = await site('goal', 'add', 'shop.example', '--event=refund', '--name=Bought');
  expect(taken.code).toBe(1);
  expect(taken.said).toContain('found=Bought');
  expect((await site('goal', 'add', 'shop.example')).said).toContain('either --event or --path');
  expect((await site('goal', 'add', 'shop.example', '--event=a', '--path=/b')).code).toBe(64);
  expect(await done('goal', 'rm', 'shop.example', 'Bought')).toBe('shop.example has the goal Bought no more\n');
  expect((await site('goal', 'rm', 'shop.example', 'Bought')).said).toContain('there is no such goal');
  expect(await json('goal', 'list', 'shop.example')).toMatchObject([goals[1]]);
});
