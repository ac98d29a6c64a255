/** Worker of the scheduler: imports the jobs of a role and runs them until the process drains. */
import { setTimeout as delay } from 'node:timers/promises';
import { PostgresJobLedger } from '../store/postgres/job-ledger.ts';
import type { Worker, WorkerFrame } from './contract.ts';
import { jobMetrics, tellMetrics } from './job-metrics.ts';
import { type Jobs, RETRY_MS_MAX, Scheduler } from './scheduler.ts';

/** `data` of the worker's spec. */
export interface SchedulerData {
  /** URL of the jobs module. */
  readonly module: string;
  /** Names of all jobs of the process: label values. */
  readonly names: readonly string[];
  /** Name of the service: part of the keys of locks and rows. */
  readonly service: string;
  /** The database of the locks; undefined: each process runs its jobs for itself. */
  readonly dsn: string | undefined;
}

const worker: Worker = {
  async run(frame: WorkerFrame & { readonly data?: unknown }) {
    const { module, names, service, dsn } = frame.data as SchedulerData;
    const { default: jobsOf } = (await import(module)) as { readonly default: Jobs };
    const jobs = jobsOf(frame.values);
    const ledger = dsn === undefined ? undefined : new PostgresJobLedger(dsn, service, RETRY_MS_MAX);
    const strange = jobs.find(({ name }) => !names.includes(name));
    if (strange !== undefined)
      throw new TypeError(`a job must be declared by its role: job=${strange.name}, declared=${names.join(', ')}`);
    const tell = tellMetrics(frame.meters(jobMetrics(names)));
    const scheduler = new Scheduler(jobs, { frame, ledger, log: frame.log, tell });
    frame.ready();
    while (!frame.signal.aborted) {
      const wait = scheduler.tick();
      await delay(wait, undefined, { signal: frame.signal }).catch(() => {});
    }
    await scheduler.end();
  },
};
export default worker;
