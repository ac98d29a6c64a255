/**
 * The test runner: seven projects, each with the concurrency that it bears on two cores.
 *
 *   unit     everything quick, in this process or in threads of it; files side by side
 *   servers  real Kafka, Postgres and HTTP targets
 *   faults   SIGKILL, full disks, failed syncs, mutants
 *   kills    the same of the three services that stand on Postgres
 *   pages    the pages and demos of the services in real browsers
 *   e2e      the built collector with browsers and other clients, and the tests of the benchmarks
 *   deploy   what stands around it: Dockerfile, Kubernetes, proxies, Prometheus, systemd
 *
 * Pool `forks`: with `threads` an open socket of uWebSockets.js aborts the process when its thread ends. Node itself loads src/ and
 * test/ (it strips types): what runs in a test is what runs in production, threads included, and starts faster.
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// A run starts some thousand processes and threads, each of which loads some hundred modules: they are compiled once.
// Coverage counts functions, and those that come compiled are not counted well.
if (!process.argv.includes('--coverage'))
  process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/compiled');

/** Whoever imports the harness of a server starts one, a service's own harness included. */
const harness = /from '(\.\.?\/)+(servers\/(kafka|postgres|collector|fault-proxy|chdb)|database|running)\.ts'/;
const servers = [
  ...globSync('test/{analytics,delivery,gateway,service,sinks,sms,store}/**/*.test.ts').filter((file) =>
    harness.test(readFileSync(file, 'utf8')),
  ),
  'test/sinks/{kafka,postgres,http}/**/*.test.ts',
];
const kills = globSync('test/faults/{analytics,gateway,sms}*.test.ts');
const pages = ['test/e2e/{analytics-dashboard,analytics-dashboard-page,gateway-admin,sms-reports,demo}.test.ts'];
const folders = { faults: 'test/faults', e2e: 'test/e2e', deploy: 'test/deploy' };
/** Limits are for what hangs: no promise rests on them. */
const patience = process.env['LONG'] ? 60 : 1;
const limits = { testTimeout: patience * 600_000, hookTimeout: 300_000, teardownTimeout: 60_000 };
/** These wait for servers most of their time: two files side by side. */
const waiting = { ...limits, maxWorkers: 2 };
/** These load both cores, or measure: a file at a time. */
const loading = { ...limits, maxWorkers: 1, fileParallelism: false };
/** One project after the other, in the order of the list below. */
let turn = 0;
const project = (name: string, include: string[], more: object) => ({
  extends: true as const,
  test: { name, include, sequence: { groupOrder: turn++ }, ...more },
});

export default defineConfig({
  test: {
    pool: 'forks',
    // What has to come is looked at again until it is there: servers start in this time on a machine that is busy.
    expect: { poll: { timeout: 60_000, interval: 20 } },
    reporters: ['default', './test/last-line.ts'],
    coverage: { provider: 'v8', include: ['src/**/*.ts'] },
    experimental: { viteModuleRunner: false, nodeLoader: false },
    projects: [
      project('unit', ['test/**/*.test.ts'], {
        exclude: [
          ...servers,
          ...Object.values(folders).map((folder) => `${folder}/**`),
          'test/servers/**',
          'test/bench/**',
        ],
        testTimeout: patience * 120_000,
        maxWorkers: 2,
      }),
      project('servers', [...servers, 'test/servers/*.test.ts'], waiting),
      project('faults', [`${folders.faults}/**/*.test.ts`], { ...loading, exclude: kills }),
      project('kills', kills, waiting),
      project('pages', pages, waiting),
      project('e2e', [`${folders.e2e}/**/*.test.ts`, 'test/bench/*.test.ts'], { ...loading, exclude: pages }),
      project('deploy', [`${folders.deploy}/**/*.test.ts`], waiting),
    ],
  },
});
