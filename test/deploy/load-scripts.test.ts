/** The load scripts of the gateway and of the SMS gateway are what k6 and Locust take. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { addKey } from '../../src/gateway/database/admin/keys.ts';
import { setLimits } from '../../src/gateway/database/admin/limits.ts';
import { addUser } from '../../src/gateway/database/admin/users.ts';
import { seed } from '../../src/sms/setup/seed.ts';
import { openLink, PEPPER, startDatabase } from '../gateway/database.ts';
import { startGateway } from '../gateway/running.ts';
import { runProgram } from '../servers/process.ts';
import { startDatabase as startSmsDatabase } from '../sms/database.ts';
import { startSms } from '../sms/running.ts';
import { deployFolder } from './local-postgres.ts';
import { k6, locust } from './tools.ts';

const PORT = 24_730;

test('k6 reads its script, and Locust finds its user', async () => {
  const options = JSON.parse(await runProgram(await k6(), ['inspect', join(deployFolder, 'gateway', 'k6_script.js')]));
  expect(options).toMatchObject({ vus: 10, duration: '30s', thresholds: { checks: ['rate==1'] } });
  const env = { ...process.env, PYTHONPATH: await locust(), PYTHONDONTWRITEBYTECODE: '1' };
  const file = join(deployFolder, 'gateway', 'locust_test.py');
  expect(await runProgram('python3', ['-m', 'locust', '-f', file, '--list'], { env })).toContain('GatewayUser');
});

// Goal: status 200 of uploads, under both. Method: the real gateway, a user whose limit is out of the way, a second of each.
test('k6 and Locust find status 200 of uploads', async (t) => {
  const { dsn } = await startDatabase(t, PORT);
  const link = await openLink(dsn);
  const { id } = await addUser(link, { name: 'test' }, { username: 'load', email: 'load@example.com' });
  const limits = { requests_per_minute: 1_000_000, requests_per_hour: null, burst: null };
  await setLimits(link, { name: 'test' }, id, limits);
  const { key } = await addKey(link, { name: 'test' }, PEPPER, id, {});
  await link.close();
  const { url } = await startGateway(t, { port: PORT + 1, dsn });
  const script = join(deployFolder, 'gateway', 'k6_script.js');
  const given = { BASE_URL: url, API_KEY: key, VUS: '2', DURATION: '1s' };
  const words = Object.entries(given).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
  // A threshold that is missed ends with 99.
  expect(await runProgram(await k6(), ['run', '--no-usage-report', ...words, script])).toMatch(/status is 200/);
  const env = { ...process.env, PYTHONPATH: await locust(), PYTHONDONTWRITEBYTECODE: '1', API_KEY: key };
  const file = join(deployFolder, 'gateway', 'locust_test.py');
  const load = ['--headless', '--users', '2', '--spawn-rate', '2', '--run-time', '1s', '--host', url];
  // One failure ends with 1.
  expect(await runProgram('python3', ['-m', 'locust', '-f', file, ...load], { env })).toContain('/api/v1/upload');
});

// Goal: benchmark.sh measures what was asked for, and says so when it is missed. Method: the real service, a second of it.
test('benchmark.sh of the SMS gateway finds status 200 at a constant rate, and ends with 99 when a check fails', async (t) => {
  const folder = join(deployFolder, 'sms');
  const options = JSON.parse(await runProgram(await k6(), ['inspect', join(folder, 'k6_script.js')]));
  expect(options.scenarios.sends).toMatchObject({ executor: 'constant-arrival-rate', rate: 3000, duration: '30s' });
  expect(options.thresholds).toEqual({ checks: ['rate==1'], http_req_duration: ['p(99)<50'] });
  const { dsn } = await startSmsDatabase(t, PORT + 2);
  const link = await openLink(dsn);
  await seed(link, { customers: 3, balance: 10_000 });
  const { url } = await startSms(t, { port: PORT + 3, dsn, env: { ACCESS: 'open' } });
  const env = { ...process.env, K6: await k6(), RATE: '50', DURATION: '1s', VUS: '5' };
  const run = (): Promise<string> => runProgram('sh', [join(folder, 'benchmark.sh'), url], { env });
  // A machine that is busy may miss the p99; the checks count.
  expect(await run().catch(({ message }: Error) => message)).toMatch(
    /checks_succeeded\.*: 100\.00%[\s\S]*status is 200/,
  );
  const { rows } = await link.query<{ n: number }>('SELECT count(*)::int AS n FROM sms_logs');
  expect(rows[0]!.n).toBeGreaterThan(40);
  await link.query('UPDATE customers SET active = false');
  await link.close();
  await expect(run()).rejects.toThrow(/status=99/);
});
