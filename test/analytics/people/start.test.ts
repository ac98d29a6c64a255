/**
 * Goal: no dashboard is open to everybody by mistake. Method: the built service is started on all addresses with a real
 * Postgres; it refuses, and each of the three ways out that it names lets it start.
 */
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { runSite } from '../../../src/analytics/access/site-command.ts';
import service from '../../../src/analytics/analytics.ts';
import { runUser } from '../../../src/analytics/people/user-command.ts';
import { isLoopback } from '../../../src/http/endpoint.ts';
import { openLink } from '../../../src/store/postgres/connection.ts';
import { freePort } from '../../http/raw.ts';
import { main } from '../../servers/collector.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { ServerProcess, type TestScope, temporaryFolder } from '../../servers/process.ts';
import { toolRun } from '../../service/tool/run.ts';
import { startAnalytics } from '../running.ts';

test('a loopback address is told from others', () => {
  for (const address of ['127.0.0.1:8080', '127.1.2.3:80', 'localhost:80', '[::1]:8080'])
    expect(isLoopback(address), address).toBe(true);
  for (const address of [':8080', '0.0.0.0:80', '[::]:80', '192.168.0.1:80', 'localhost.example:80', '128.0.0.1:1'])
    expect(isLoopback(address), address).toBe(false);
});

test('on all addresses the start refuses an open dashboard with 78, and says three ways out', async (t) => {
  const { dsn } = await startPostgres(t, { port: 23_138, settings: fastSettings });
  const port = await freePort(23_139);
  const env = { DATABASE_URL: dsn, SERVER_ADDR: `0.0.0.0:${port}` };
  const refused = await refusedStart(t, env);
  expect(refused.code).toBe('78');
  expect(refused.said).toContain(`everybody who reaches 0.0.0.0:${port} could look at the dashboard`);
  for (const way of ['ringmain analytics user add', 'ringmain site add', 'ACCESS=open'])
    expect(refused.said).toContain(way);
  expect(refused.said).not.toMatch(/\n {4}at /);

  const link = await openLink(dsn);
  t.onTestFinished(() => link.close());
  const starts = async (more: Record<string, string>) => {
    const running = await startAnalytics(t, { port, env: { ...env, ...more } });
    const answer = await fetch(`${running.url}/api/sites`);
    const stats = await fetch(`${running.url}/stats?site_id=shop&date=2025-11-15`);
    const sent = await running.post('/events', { site_id: 'shop', event_type: 'page_view' });
    await running.process.end('SIGTERM');
    return [answer.status, stats.status, sent.status];
  };
  expect(await starts({ ACCESS: 'open' })).toEqual([200, 200, 202]);
  const tool = (run: () => Promise<number>) => toolRun(run).then(({ code, said }) => expect(code, said).toBe(0));
  await tool(() => runUser(service, ['add', 'ada', `--pg-dsn=${dsn}`], Readable.from(['correct horse battery'])));
  // Events and GET /stats go by sites and keys: they are as open as before.
  expect(await starts({})).toEqual([401, 200, 202]);
  await link.query('DELETE FROM users');
  await tool(() => runSite(service, ['add', 'shop', `--pg-dsn=${dsn}`]));
  expect(await starts({})).toEqual([401, 401, 202]);
});

async function refusedStart(t: TestScope, env: Record<string, string>): Promise<{ code: string; said: string }> {
  const { folder } = temporaryFolder('ringmain-analytics-');
  const all = { PATH: process.env['PATH'] ?? '', ACCEPTORS: '1', ...env };
  const server = new ServerProcess(process.execPath, [main, 'analytics'], { cwd: folder, env: all }, folder);
  t.onTestFinished(() => server.end('SIGKILL'));
  return { code: await server.exited, said: server.log };
}
