/**
 * Goal: the configuration that the gateway was asked for with works as it stands, and so do the files of deploy/gateway.
 * Method: the texts of test/fixtures/gateway-seed, which nobody changes; the files of deploy/ through a real process.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import gateway, { type GatewayValues } from '../../src/gateway/gateway.ts';
import { configure } from '../../src/service/configured.ts';
import { opsRoutes } from '../../src/service/routes-ops.ts';
import { temporaryFolder } from '../servers/process.ts';

const seed = (file: string) => join('test/fixtures/gateway-seed', file);
const pepper = 'p'.repeat(32);
const read = (argv: readonly string[], env: Readonly<Record<string, string>> = {}) => {
  const configured = configure(gateway, ['all'], { argv, env: { KEY_PEPPER: pepper, ...env } });
  return { ...configured, values: configured.values as GatewayValues };
};
const addressOf = (values: GatewayValues) => gateway.roles['all']!.address!(values);

test('config.yaml of the seed loads unchanged, and every value of it arrives', () => {
  const { values, loaded } = read([`--config=${seed('config.yaml')}`]);
  expect(loaded.warnings).toEqual([]);
  expect(addressOf(values)).toBe(':8080');
  expect(values.postgres.pgDsn).toBe('postgres://user:pass@localhost/imgproxy_gateway');
  expect(values.gateway).toMatchObject({
    serverPort: 8080,
    readTimeoutMs: 30_000,
    writeTimeoutMs: 30_000,
    databaseDriver: 'postgres',
    databaseMaxConnections: 25,
    redisAddr: 'localhost:6379',
    redisPassword: undefined,
    redisDb: 0,
    backends: [
      { url: 'http://127.0.0.1:48080', weight: 70 },
      { url: 'http://127.0.0.1:48081', weight: 30 },
    ],
    ipRequestsPerMinute: 100,
    userRequestsPerMinute: 1000,
  });
  expect([...loaded.sources.values()].filter((from) => from.startsWith(seed('config.yaml')))).toHaveLength(11);
});

test('.env.example of the seed loads unchanged, and every value of it arrives', () => {
  const { values, loaded } = read([`--env-file=${seed('env.example')}`]);
  expect(loaded.warnings).toEqual([]);
  expect(values.gateway).toMatchObject({ serverPort: 8080, readTimeoutMs: 30_000, writeTimeoutMs: 30_000 });
  expect(values.gateway).toMatchObject({ redisAddr: 'localhost:6379', redisPassword: undefined, redisDb: 0 });
  expect(values.postgres.pgDsn).toBe('postgres://user:pass@localhost/imgproxy_gateway');
  expect([values.service.metricsEnabled, values.kernel.logLevel]).toEqual([true, 'info']);
  // All of its lines but the empty password.
  expect(loaded.sources.size).toBe(9 + 1);
});

test('what a file says is an option of the environment as well, and the environment wins', () => {
  const { values } = read([`--config=${seed('config.yaml')}`], {
    SERVER_PORT: '9090',
    SERVER_ADDR: '127.0.0.1:1',
    SERVER_READ_TIMEOUT: '5s',
    DB_DSN: 'postgres://other/gateway',
    DB_MAX_CONNECTIONS: '7',
    REDIS_ADDR: '[::1]:6380',
    REDIS_PASSWORD: 'hidden',
    BACKENDS: '[{"url": "http://IMGPROXY:8080/"}]',
    IP_REQUESTS_PER_MINUTE: '1',
    METRICS_ENABLED: 'false',
    LOG_LEVEL: 'warn',
  });
  expect(addressOf(values)).toBe('127.0.0.1:9090');
  expect(values.postgres.pgDsn).toBe('postgres://other/gateway');
  expect(values.gateway).toMatchObject({
    readTimeoutMs: 5000,
    databaseMaxConnections: 7,
    redisAddr: '[::1]:6380',
    redisPassword: 'hidden',
    backends: [{ url: 'http://imgproxy:8080', weight: 1 }],
    ipRequestsPerMinute: 1,
  });
  expect([values.service.metricsEnabled, values.kernel.logLevel]).toEqual([false, 'warn']);
});

test('METRICS_ENABLED=false leaves /metrics out, and the probes in', () => {
  const source = { readiness: () => [], metrics: async () => '' };
  const paths = (enabled: boolean) => opsRoutes(source, enabled).map(({ path }) => path);
  expect(paths(false)).toEqual(['/healthz', '/health', '/readyz', '/ready']);
  expect(paths(true)).toEqual(['/healthz', '/health', '/readyz', '/ready', '/metrics']);
});

test('a wrong value is refused with its place, an unknown key with the nearest one', (t) => {
  const { folder, remove } = temporaryFolder('ringmain-gateway-config-');
  t.onTestFinished(remove);
  const file = join(folder, 'c.yaml');
  const refusal = (yaml: string) => {
    writeFileSync(file, yaml);
    try {
      read([`--config=${file}`]);
    } catch (error) {
      return (error as Error).message.replaceAll(file, 'c.yaml');
    }
    throw new Error(`it was taken: ${yaml}`);
  };
  expect(refusal('server: {prot: 80}')).toBe('c.yaml:1:10: server.prot is not an option: did you mean server.port?');
  expect(refusal('rate_limit: {ip_level: {requests_per_minute: 1}}')).toContain('did you mean rate_limits?');
  expect(refusal('SERVER_PORT: 80')).toContain('did you mean server.port?');
  expect(refusal('database: {driver: mysql}')).toBe(
    'database.driver must be one of postgres: found="mysql" (c.yaml:1:20)',
  );
  expect(refusal('server: {read_timeout: 30}')).toContain('must be a duration with its unit');
  expect(refusal('redis: {addr: localhost}')).toContain('redis.addr must be host:port or [v6]:port');
  const backends = (text: string) => refusal(`backends: ${text}`);
  expect(backends('[{url: "http://a:1", weigth: 1}]')).toBe(
    'backends must be a list of {url, weight}: weigth is neither url nor weight (c.yaml:1:40)',
  );
  expect(backends('[{url: "http://a:1/path"}]')).toContain('url must be http://host:port, without a path');
  expect(backends('[{url: "ftp://a:1"}]')).toContain('url must be http://host:port');
  expect(backends('[{weight: 1}]')).toContain('url must be http://host:port');
  expect(backends('[{url: "http://a:1", weight: -1}]')).toContain('weight must be a whole number from 0 to 1000');
  expect(backends('[{url: "http://a:1"}, {url: "http://A:1/"}]')).toContain('each url must be there once');
  expect(backends('{url: "http://a:1"}')).toContain('not a list');
  expect(backends('[http://a:1]')).toContain('not a mapping of url and weight');
});

test('--check-config takes config.yaml, config.dev.yaml, config.prod.yaml and .env.example of deploy/gateway', async (t) => {
  const { folder, remove } = temporaryFolder('ringmain-gateway-config-');
  t.onTestFinished(remove);
  const secrets = join(folder, 'secrets');
  mkdirSync(secrets);
  const secret = (name: string, text: string) => {
    writeFileSync(join(secrets, name), text);
    return join(secrets, name);
  };
  const production = {
    DB_DSN_FILE: secret('dsn', 'postgres://u:p@db/gateway\n'),
    REDIS_PASSWORD_FILE: secret('redis', 'hidden\n'),
    KEY_PEPPER_FILE: secret('pepper', pepper),
  };
  const check = (flag: string, env: Readonly<Record<string, string>>) =>
    promisify(execFile)(process.execPath, ['src/main.ts', 'gateway', flag, '--check-config'], {
      env: { PATH: process.env['PATH'], JOURNAL_DIR: join(folder, 'j'), UPLOAD_DIR: folder, ...env },
    });
  const said = await Promise.all([
    check('--config=deploy/gateway/config.yaml', { KEY_PEPPER: pepper }),
    check('--config=deploy/gateway/config.dev.yaml', { KEY_PEPPER: pepper }),
    check('--config=deploy/gateway/config.prod.yaml', production),
    check('--env-file=deploy/gateway/.env.example', { KEY_PEPPER: pepper }),
  ]);
  for (const { stdout } of said) expect(stdout).toMatch(/ok|valid/i);
  await expect(check('--config=deploy/gateway/config.dev.yaml', {})).rejects.toThrow('KEY_PEPPER');
});
