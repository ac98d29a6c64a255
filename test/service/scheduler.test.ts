import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { ManualClock } from '../../src/kernel/clock.ts';
import { createLog } from '../../src/kernel/log.ts';
import { attachBoard, createBoard, type Meters, type MetricSet } from '../../src/kernel/metrics.ts';
import type { WorkerFrame } from '../../src/service/contract.ts';
import { jobMetrics } from '../../src/service/job-metrics.ts';
import {
  dueAt,
  type Job,
  type JobLedger,
  type JobReport,
  RETRY_MS_MAX,
  Scheduler,
} from '../../src/service/scheduler.ts';
import worker, { type SchedulerData } from '../../src/service/scheduler-worker.ts';
import { PostgresJobLedger } from '../../src/store/postgres/job-ledger.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../servers/postgres.ts';
import { sql } from '../sinks/postgres/fixture.ts';

const PORT = 21566;
let postgres: PostgresServer;
const undo: (() => unknown)[] = [];
beforeAll(async () => {
  const scope = { onTestFinished: (fn: () => unknown) => undo.push(fn) };
  postgres = await startPostgres(scope, { port: PORT, settings: fastSettings, own: true });
});
afterAll(async () => {
  for (const fn of undo.reverse()) await fn();
});

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NOON = Date.UTC(2026, 10, 28, 12);
const TWO = Date.UTC(2026, 10, 29, 2);
const log = createLog({ level: 'silent', destination: 2, name: 'test' });

const frame = {
  values: { site: 'toy' },
  shared: undefined,
  log,
  meters: () => {
    throw new Error('no job of these tests counts');
  },
  lane: undefined,
  publish: () => Promise.reject(new Error('no job of these tests publishes')),
};

interface Rig {
  readonly clock: ManualClock;
  readonly scheduler: Scheduler<unknown, unknown>;
  readonly reports: Map<string, JobReport>;
  /** Time passes in steps of a second, as the worker looks; what is due runs and ends. */
  pass(ms: number, step?: number): Promise<void>;
  /** One look, and all that it started has ended. */
  look(): Promise<void>;
}

function rig(
  jobs: readonly Job[],
  { now = NOON, ledger, lines }: { now?: number; ledger?: JobLedger; lines?: string[] } = {},
): Rig {
  const clock = new ManualClock(now);
  const reports = new Map<string, JobReport>();
  const tell = (report: JobReport): void => void reports.set(report.name, report);
  const stream = { write: (line: string) => void lines?.push(line) };
  const told = lines === undefined ? log : createLog({ level: 'info', destination: 1, name: 'scheduler', stream });
  const scheduler = new Scheduler(jobs, { frame, ledger, log: told, tell, clock });
  onTestFinished(() => void scheduler.end()); // not awaited: a job of a test that fails may never end
  const look = async (): Promise<void> => {
    scheduler.tick();
    await scheduler.idle();
  };
  const pass = async (ms: number, step = 1000): Promise<void> => {
    for (let passed = 0; passed < ms; passed += step) {
      clock.advance(step);
      await look();
    }
  };
  return { clock, scheduler, reports, pass, look };
}

function ledger(service: string): PostgresJobLedger {
  return new PostgresJobLedger(postgres.dsn, service, RETRY_MS_MAX);
}

/** A job that notes the times it ran for. */
function noted(name: string, when: Partial<Job>): { job: Job; runs: string[] } {
  const runs: string[] = [];
  const job = { name, ...when, run: ({ due }: { due: Date }) => void runs.push(due.toISOString()) } as Job;
  return { job, runs };
}

test('times: the newest one that is not after now', () => {
  expect(dueAt({ at: '02:00' }, TWO - 1)).toBe(TWO - DAY);
  expect(dueAt({ at: '02:00' }, TWO)).toBe(TWO);
  expect(dueAt({ at: '23:59' }, TWO)).toBe(Date.UTC(2026, 10, 28, 23, 59));
  expect(dueAt({ at: '00:00' }, TWO)).toBe(TWO - 2 * HOUR);
  expect(dueAt({ every: 60_000 }, TWO + 59_999)).toBe(TWO);
});

test('without locks a job runs at each of its times and makes up for none before its start', async () => {
  const daily = noted('daily', { at: '02:00' });
  const often = noted('often', { every: 6 * HOUR });
  const { pass, reports, look } = rig([daily.job, often.job]);
  await look();
  expect(reports.get('daily')).toMatchObject({ state: 'waiting', nextMs: TWO, lastMs: undefined });
  await pass(2 * DAY, 60_000);
  expect(daily.runs).toEqual(['2026-11-29T02:00:00.000Z', '2026-11-30T02:00:00.000Z']);
  expect(often.runs).toHaveLength(8);
  expect(reports.get('daily')).toMatchObject({
    outcome: 'ok',
    ok: 2,
    failed: 0,
    lastMs: TWO + DAY,
    nextMs: TWO + 2 * DAY,
  });
});

test('a clock that is set back runs nothing twice, and set forward makes one run of many times', async () => {
  const daily = noted('daily', { at: '02:00' });
  const { clock, pass } = rig([daily.job], { now: TWO - 5000 });
  await pass(10_000);
  clock.set(TWO - 10_000);
  await pass(60_000);
  expect(daily.runs).toEqual(['2026-11-29T02:00:00.000Z']);
  clock.set(TWO + 9 * DAY + HOUR);
  await pass(60_000);
  expect(daily.runs).toEqual(['2026-11-29T02:00:00.000Z', '2026-12-08T02:00:00.000Z']);
  // It was wrong: back by nine days, the next night is run as ever.
  clock.set(TWO + HOUR);
  await pass(60_000);
  expect(daily.runs).toHaveLength(2);
  await pass(DAY, 60_000);
  expect(daily.runs.slice(2)).toEqual(['2026-11-30T02:00:00.000Z']);
});

test('a job that throws is repeated after pauses that double to a bound, and counted', async () => {
  let broken = true;
  const tries: number[] = [];
  const job: Job = {
    name: 'nightly',
    at: '02:00',
    run: () => {
      tries.push(clock.now());
      if (broken) throw new Error('no disk');
    },
  };
  const { clock, pass, reports } = rig([job], { now: TWO - 1000 });
  await pass(HOUR);
  const pauses = tries.slice(1).map((at, i) => (at - tries[i]!) / 1000);
  expect(pauses.slice(0, 10)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
  expect(Math.max(...pauses)).toBe(RETRY_MS_MAX / 1000);
  expect(reports.get('nightly')).toMatchObject({
    state: 'failing',
    reason: 'no disk',
    outcome: 'failed',
    failures: tries.length,
    failed: tries.length,
    nextMs: tries.at(-1)! + RETRY_MS_MAX,
  });
  broken = false;
  await pass(RETRY_MS_MAX);
  expect(reports.get('nightly')).toMatchObject({ state: 'waiting', failures: 0, ok: 1, nextMs: TWO + DAY });
  const count = tries.length;
  await pass(12 * HOUR, 60_000);
  expect(tries).toHaveLength(count);
});

test('a job that runs longer than its interval never overlaps itself; the times it ran through are done', async () => {
  let open = 0;
  let most = 0;
  const ends: (() => void)[] = [];
  const runs: number[] = [];
  const job: Job = {
    name: 'slow',
    every: 10_000,
    run: async ({ due }) => {
      runs.push((due.getTime() - NOON) / 1000);
      open += 1;
      most = Math.max(most, open);
      await new Promise<void>((resolve) => ends.push(resolve));
      open -= 1;
    },
  };
  const { clock, scheduler } = rig([job]);
  const advance = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += 1000) {
      clock.advance(1000);
      scheduler.tick();
    }
  };
  advance(45_000);
  expect(runs).toEqual([10]);
  ends.pop()!();
  await scheduler.idle();
  advance(4000);
  expect(runs).toEqual([10]);
  advance(1000);
  expect(runs).toEqual([10, 50]);
  expect(most).toBe(1);
  ends.pop()!();
});

test('drain: the signal fires, what runs may end, and nothing starts any more', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let aborted = false;
  const job: Job = {
    name: 'long',
    every: 1000,
    run: async ({ signal }) => {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      await promise;
    },
  };
  const { clock, scheduler } = rig([job]);
  clock.advance(1000);
  scheduler.tick();
  let ended = false;
  const end = scheduler.end().then(() => {
    ended = true;
  });
  expect(aborted).toBe(true);
  await Promise.resolve();
  expect(ended).toBe(false);
  resolve();
  await end;
  clock.advance(5000);
  scheduler.tick();
  await scheduler.idle();
  expect(ended).toBe(true);
});

test.each([
  [[{ name: 'Upper', every: 1 }], /name of a job must be a short word/],
  [
    [
      { name: 'a', every: 1 },
      { name: 'a', every: 2 },
    ],
    /must be its own: name=a/,
  ],
  [[{ name: 'a' }], /must have at or every/],
  [[{ name: 'a', at: '02:00', every: 1 }], /must have at or every/],
  [[{ name: 'a', at: '24:00' }], /at must read HH:MM/],
  [[{ name: 'a', every: 0.5 }], /every must be whole ms/],
  [[{ name: 'a', every: 1, lock: '' }], /lock must have a name/],
])('jobs that cannot be meant are refused: %j', (jobs, message) => {
  expect(() => rig(jobs.map((job) => ({ ...job, run: () => {} })) as Job[])).toThrow(message);
});

// Goal: a job with a lock runs once among all processes, also on one whose clock is a second behind.
test('five processes run a locked job once for each of its times', async () => {
  const processes = Array.from({ length: 5 }, (_, i) => {
    const daily = noted('daily', { at: '02:00', lock: true });
    return { ...daily, ...rig([daily.job], { now: TWO - 3000 - i * 500, ledger: ledger('five') }) };
  });
  // The first start: the time of yesterday has had no run.
  await Promise.all(processes.map(({ look }) => look()));
  for (const one of processes) await one.pass(6000, 500);
  for (const one of processes) await one.pass(DAY, HOUR / 2);
  const runs = processes.flatMap(({ runs }) => runs).sort();
  expect(runs).toEqual(['2026-11-28T02:00:00.000Z', '2026-11-29T02:00:00.000Z', '2026-11-30T02:00:00.000Z']);
  for (const { reports } of processes)
    expect(reports.get('daily')).toMatchObject({ state: 'waiting', nextMs: TWO + 2 * DAY });
});

test('a time that passed while no process ran is made up for once, and another service has its own', async () => {
  const first = noted('daily', { at: '02:00', lock: true });
  const before = rig([first.job], { ledger: ledger('missed') });
  await before.look();
  await before.scheduler.end();
  const late = noted('daily', { at: '02:00', lock: true });
  const after = rig([late.job], { now: TWO + 5 * DAY + HOUR, ledger: ledger('missed') });
  await after.pass(2000);
  expect(late.runs).toEqual(['2026-12-04T02:00:00.000Z']);
  const again = noted('daily', { at: '02:00', lock: true });
  await rig([again.job], { now: TWO + 5 * DAY + HOUR, ledger: ledger('missed') }).pass(2000);
  expect(again.runs).toEqual([]);
  const other = noted('daily', { at: '02:00', lock: true });
  await rig([other.job], { now: TWO + 5 * DAY + HOUR, ledger: ledger('other') }).look();
  expect(other.runs).toHaveLength(1);
  // A row of a clock that was a year ahead counts for nothing.
  await sql(postgres.dsn, "UPDATE ringmain_jobs SET due = due + interval '1 year' WHERE service = 'missed'");
  const healed = noted('daily', { at: '02:00', lock: true });
  await rig([healed.job], { now: TWO + 6 * DAY, ledger: ledger('missed') }).look();
  expect(healed.runs).toEqual(['2026-12-05T02:00:00.000Z']);
});

test('while one process runs a locked job the others wait, and jobs that share a lock never run together', async () => {
  const gate = Promise.withResolvers<void>();
  const running = Promise.withResolvers<void>();
  const slow: Job = {
    name: 'slow',
    every: HOUR,
    lock: 'heavy',
    run: () => {
      running.resolve();
      return gate.promise;
    },
  };
  const one = rig([slow], { ledger: ledger('shared') });
  one.scheduler.tick();
  await running.promise;
  const twin = noted('slow', { every: HOUR, lock: 'heavy' });
  const cousin = noted('cousin', { every: HOUR, lock: 'heavy' });
  const stranger = noted('stranger', { every: HOUR, lock: true });
  const two = rig([twin.job, cousin.job, stranger.job], { ledger: ledger('shared') });
  await two.pass(10_000);
  expect([twin.runs, cousin.runs, stranger.runs].map(({ length }) => length)).toEqual([0, 0, 1]);
  expect(two.reports.get('slow')).toMatchObject({ state: 'elsewhere' });
  gate.resolve();
  await one.scheduler.idle();
  await two.pass(10_000);
  expect([twin.runs, cousin.runs, stranger.runs].map(({ length }) => length)).toEqual([0, 1, 1]);
  expect(two.reports.get('slow')).toMatchObject({ state: 'waiting' });
});

test('a locked job that failed is repeated by whichever process comes first, after the pause', async () => {
  let tries = 0;
  const job: Job = {
    name: 'flaky',
    at: '02:00',
    lock: true,
    run: () => {
      tries += 1;
      if (tries < 3) throw new Error('not yet');
    },
  };
  const one = rig([job], { ledger: ledger('flaky') });
  const two = rig([job], { ledger: ledger('flaky') });
  await one.look();
  await two.look();
  expect(tries).toBe(1);
  expect(two.reports.get('flaky')).toMatchObject({ state: 'failing', nextMs: NOON + 1000 });
  await one.scheduler.end();
  await two.pass(1000);
  expect(tries).toBe(2);
  expect(two.reports.get('flaky')).toMatchObject({ failures: 2, nextMs: NOON + 1000 + 2000 });
  await two.pass(2000);
  expect(tries).toBe(3);
  const rows = await sql(
    postgres.dsn,
    "SELECT outcome, failures, retry_at, due FROM ringmain_jobs WHERE service = 'flaky'",
  );
  expect(rows).toEqual([{ outcome: 'ok', failures: 0, retry_at: null, due: new Date(TWO - DAY) }]);
});

// Goal: a process that is killed while it runs a job leaves the job to another.
test('a locked job whose process is killed runs again on another', async () => {
  const child = holder('killed');
  await once(child.stdout!, 'data');
  const job = noted('daily', { at: '02:00', lock: true });
  const { look, pass, reports } = rig([job.job], { ledger: ledger('killed') });
  await look();
  expect(reports.get('daily')).toMatchObject({ state: 'elsewhere' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  await expect
    .poll(async () => {
      await pass(5000);
      return job.runs;
    })
    .toEqual(['2026-11-28T02:00:00.000Z']);
});

/** Another process that has begun to run a job and never ends. */
function holder(service: string): ChildProcess {
  const module = new URL('../../src/store/postgres/job-ledger.ts', import.meta.url).href;
  const script = `import { PostgresJobLedger } from ${JSON.stringify(module)};
    const ledger = new PostgresJobLedger(${JSON.stringify(postgres.dsn)}, '${service}', 1000);
    const { kind } = await ledger.enter('daily', 'daily', ${TWO - DAY}, ${DAY}, ${NOON});
    process.stdout.write(kind);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

test('a database goes away: the job that runs is told, and runs again when the database is back', async () => {
  const running = Promise.withResolvers<void>();
  const told = Promise.withResolvers<void>();
  let runs = 0;
  const job: Job = {
    name: 'daily',
    at: '02:00',
    lock: true,
    run: async ({ signal }) => {
      runs += 1;
      if (runs > 1) return;
      running.resolve();
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      told.resolve();
      throw signal.reason;
    },
  };
  const lines: string[] = [];
  const { scheduler, look, pass, reports } = rig([job], { ledger: ledger('outage'), lines });
  scheduler.tick();
  await running.promise;
  await postgres.stop();
  await told.promise;
  await scheduler.idle();
  await pass(3000);
  expect(reports.get('daily')).toMatchObject({ state: 'away', failures: 0, outcome: undefined });
  expect(reports.get('daily')!.reason).toMatch(/ECONNREFUSED/);
  await postgres.restart();
  await pass(60_000);
  await look();
  expect(runs).toBe(2);
  expect(reports.get('daily')).toMatchObject({ state: 'waiting', outcome: 'ok', ok: 1 });
  const outage = lines.filter((line) => line.includes('database for job locks'));
  expect(outage).toHaveLength(2);
  expect(outage[0]).toMatch(/127\.0\.0\.1:\d+.*is down; jobs are waiting/);
  expect(outage[1]).toMatch(/"downMs":\d+.*is back/);
});

test('the worker runs the jobs of a module until the process drains, and counts them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-jobs-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'jobs.mjs');
  writeFileSync(
    path,
    `export default (values) => [
       { name: 'good', every: 20, run: ({ values: seen }) => values.tell(seen.word) },
       { name: 'bad', every: 20, lock: true, run: () => { throw new Error('as it is'); } },
     ];`,
  );
  const set = jobMetrics(['good', 'bad']);
  const board = createBoard([set as MetricSet], 1);
  const drain = new AbortController();
  const words: string[] = [];
  const ready = Promise.withResolvers<void>();
  const three = Promise.withResolvers<void>();
  const tell = (word: string): void => {
    words.push(word);
    if (words.length === 3) three.resolve();
  };
  const data: SchedulerData = {
    module: pathToFileURL(path).href,
    names: ['good', 'bad'],
    service: 'worker',
    dsn: postgres.dsn,
  };
  const run = worker.run({
    ...frame,
    values: { word: 'hello', tell },
    index: 0,
    data,
    signal: drain.signal,
    meters: <M extends MetricSet>(of: M): Meters<M> => attachBoard(of, board, 0),
    ready: ready.resolve,
    away: () => {},
    serve: () => {},
  } as unknown as WorkerFrame);
  await ready.promise;
  await three.promise;
  const failures = attachBoard(set, board, 0).ringmain_job_failures.at({ job: 'bad' });
  await expect.poll(() => failures.value).toBeGreaterThan(0);
  drain.abort();
  await run;
  expect(words.slice(0, 3)).toEqual(['hello', 'hello', 'hello']);
  const runs = attachBoard(set, board, 0).ringmain_job_runs_total;
  expect(runs.at({ job: 'good', outcome: 'ok' }).value).toBe(words.length);
  expect(runs.at({ job: 'bad', outcome: 'ok' }).value).toBe(0);
});
