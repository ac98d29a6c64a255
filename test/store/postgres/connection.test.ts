import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { connect, type LinkOptions } from '../../../src/store/postgres/connection.ts';
import { copyIn } from '../../../src/store/postgres/copy.ts';
import { parseDsn } from '../../../src/store/postgres/dsn.ts';
import { faultOf } from '../../../src/store/postgres/fault.ts';
import { faultProxy } from '../../servers/fault-proxy.ts';
import { type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { temporaryFolder } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';

const PORT = 21600;
const options: LinkOptions = { connectTimeoutMs: 500, queryTimeoutMs: 500, applicationName: 'test' };

describe('a Postgres link', () => {
  const scope = fileScope();
  let server: PostgresServer;
  let dsn: string;
  beforeAll(async () => {
    server = await startPostgres(scope, { port: PORT, own: true });
    dsn = server.dsn;
  });
  const link = async (text: string, more: Partial<LinkOptions> = {}) => {
    const opened = await connect(parseDsn(text), { ...options, ...more });
    scope.onTestFinished(() => opened.close());
    return opened;
  };
  const alter = async (...statements: string[]) => {
    const admin = await link(dsn);
    for (const statement of statements) await admin.query(statement);
    await admin.query('SELECT pg_reload_conf()');
    await admin.close();
  };

  test('takes the first host that will do, and says of each why it would not', async (t) => {
    const silent = await faultProxy(t, { target: { port: PORT } });
    silent.silence();
    const nobody = await faultProxy(t, { target: { port: PORT } });
    await nobody.refuse();
    const many = dsn.replace(/@[^/]+/, `@${nobody.address},${silent.address},127.0.0.1:${PORT}`);
    const opened = await link(many);
    assert.equal(opened.host.port, PORT);
    const none = dsn.replace(/@[^/]+/, `@${nobody.address},${silent.address}`);
    await assert.rejects(link(none), (error) => {
      assert.equal(faultOf(error), 'network');
      assert.match((error as Error).message, /ECONNREFUSED.*; .*timeout expired/);
      return true;
    });
  });

  test('target_session_attrs passes a read-only server by', async (t) => {
    const other = await startPostgres(t, {
      port: PORT + 1,
      own: true,
      settings: { default_transaction_read_only: 'on' },
    });
    const hosts = dsn.replace(/@[^/]+/, `@127.0.0.1:${other.port},127.0.0.1:${PORT}`);
    assert.equal((await link(hosts)).host.port, PORT, 'read-write is the default of several hosts');
    assert.equal((await link(`${hosts}?target_session_attrs=any`)).host.port, other.port);
    await assert.rejects(
      link(`${other.dsn}?target_session_attrs=read-write`),
      /must be read-write: standby=false, read_only=true/,
    );
    assert.equal((await link(`${other.dsn}?target_session_attrs=primary`)).host.port, other.port);
  });

  test('gives up a query that has no answer in time, and is of no use any more', async (t) => {
    const proxy = await faultProxy(t, { target: { port: PORT } });
    const opened = await link(dsn.replace(/@[^/]+/, `@${proxy.address}`));
    proxy.freeze();
    const begin = performance.now();
    await assert.rejects(opened.query('SELECT 1'), /no answer within 500 ms/);
    assert.ok(performance.now() - begin < 10_000);
    assert.ok(opened.broken !== undefined);
    const closing = performance.now();
    await opened.close();
    assert.ok(performance.now() - closing < 450);
  });

  // Goal: whoever reads "password authentication failed" at night learns of which server. Method: an error of each source.
  test('every error names host and port and no secret, but for those about a row', async (t) => {
    const nobody = await faultProxy(t, { target: { port: PORT } });
    await nobody.refuse();
    const here = `127.0.0.1:${PORT}`;
    const messageOf = async (work: Promise<unknown>) =>
      work.then(
        () => '',
        (error: Error) => error.message,
      );
    const opened = await link(dsn);
    const server = dsn.replace(/^.*@/, 'postgres://wrong:s3cret@');
    const rows: readonly (readonly [string, string, RegExp])[] = [
      [here, await messageOf(link(server)), /password authentication failed/],
      [
        `localhost:${PORT}`,
        await messageOf(link(`postgres://localhost:${PORT}/postgres?user=wrong&password=s3cret`)),
        /failed/,
      ],
      [nobody.address, await messageOf(link(dsn.replace(/@[^/]+/, `@${nobody.address}`))), /ECONNREFUSED/],
      [
        'no-such-host.invalid:5432',
        await messageOf(link('postgres://x:s3cret@no-such-host.invalid/x')),
        /ENOTFOUND|EAI/,
      ],
      [here, await messageOf(opened.query('SELECT * FROM absent')), /relation "absent" does not exist/],
      [here, await messageOf(copyIn(opened, 'COPY absent FROM STDIN', Buffer.alloc(0))), /relation "absent"/],
      [here, await messageOf(opened.query('SELECT pg_terminate_backend(pg_backend_pid())')), /terminat/],
    ];
    for (const [place, message, what] of rows) {
      assert.match(message, what);
      assert.ok(message.includes(place), `${place} must stand in: ${message}`);
      assert.equal(message.split(place).length, 2, `once: ${message}`);
      assert.doesNotMatch(message, /s3cret/);
    }
    await expect.poll(() => String(opened.broken)).toContain(here);
    const again = await link(dsn);
    assert.match(await messageOf(again.query("SELECT 'x'::int")), /^invalid input syntax for type integer: "x"$/);
  });

  test('a COPY that is refused before all of it was sent leaves the link usable', async () => {
    const opened = await link(dsn, { queryTimeoutMs: 5000 });
    await opened.query('CREATE TEMPORARY TABLE numbers (n int)');
    const bad = Buffer.from(`x\n${'1\n'.repeat(8_000_000)}`);
    await assert.rejects(copyIn(opened, 'COPY numbers FROM STDIN', bad), /invalid input syntax/);
    assert.equal((await opened.query<{ n: number }>('SELECT 7 AS n')).rows[0]!.n, 7);
    assert.equal(await copyIn(opened, 'COPY numbers FROM STDIN', Buffer.from('1\n2\n')), 2);
    await assert.rejects(copyIn(opened, 'COPY nothing FROM STDIN', Buffer.from('1\n')), /does not exist/);
    assert.equal((await opened.query('SELECT FROM numbers')).rowCount, 2);
    assert.equal(opened.broken, undefined);
  });

  test('tells its owner once when the server ends the session', async () => {
    const opened = await link(dsn);
    const told: Error[] = [];
    opened.onLost = (error) => told.push(error);
    const { rows } = await opened.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await (await link(dsn)).query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
    await expect.poll(() => told.length).toBe(1);
    await assert.rejects(opened.query('SELECT 1'));
    assert.equal(told.length, 1);
  });

  test('speaks TLS as sslmode says', async (t) => {
    const plain = `${dsn}?sslmode=`;
    await assert.rejects(link(`${plain}require`), /does not support SSL/);
    assert.deepEqual(await encrypted(`${plain}prefer`), false);

    const { folder, remove } = temporaryFolder('ringmain-tls-');
    t.onTestFinished(remove);
    for (const name of ['right', 'wrong']) {
      const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost'];
      execFileSync(
        'openssl',
        [
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:P-256',
          '-nodes',
          '-days',
          '2',
          '-keyout',
          join(folder, `${name}.key`),
          '-out',
          join(folder, `${name}.crt`),
          ...subject,
        ],
        { stdio: 'ignore' },
      );
    }
    for (const [from, to] of [
      ['right.key', 'server.key'],
      ['right.crt', 'server.crt'],
    ] as const) {
      const path = join(server.dataFolder, to);
      copyFileSync(join(folder, from), path);
      chmodSync(path, 0o600);
      if (process.getuid?.() === 0) chownSync(path, 65534, 65534);
    }
    await alter('ALTER SYSTEM SET ssl = on');
    await expect.poll(() => encrypted(`${plain}prefer`)).toBe(true);
    assert.equal(await encrypted(`${plain}disable`), false);
    assert.equal(await encrypted(`${plain}allow`), false);
    assert.equal(await encrypted(`${plain}prefer`), true);
    assert.equal(await encrypted(`${plain}require`), true);
    const right = `&sslrootcert=${join(folder, 'right.crt')}`;
    const wrong = `&sslrootcert=${join(folder, 'wrong.crt')}`;
    assert.equal(await encrypted(`${plain}verify-ca${right}`), true, 'verify-ca asks for no name');
    await assert.rejects(link(`${plain}verify-ca${wrong}`), /certificate/);
    await assert.rejects(
      link(`${plain}require${wrong}`),
      /certificate/,
      'require with a root certificate verifies, as in libpq',
    );
    await assert.rejects(link(`${plain}verify-full${right}`), /127\.0\.0\.1/, 'the certificate names localhost');
    assert.equal(await encrypted(`${plain}verify-full${right}`.replace('127.0.0.1', 'localhost')), true);
    await assert.rejects(link(`${plain}verify-full`.replace('127.0.0.1', 'localhost')), /self-signed|certificate/);
  });

  async function encrypted(text: string): Promise<boolean> {
    const opened = await link(text);
    const { rows } = await opened.query<{ ssl: boolean }>('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    await opened.close();
    return rows[0]!.ssl;
  }
});
