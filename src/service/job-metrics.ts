/** Metrics of the scheduler: one label value per job. */
import { counter, defineMetrics, gauge, type Meters } from '../kernel/metrics.ts';
import type { JobReport } from './scheduler.ts';

const outcomes = ['ok', 'failed'] as const;

/** Main and the scheduler's thread make the same set from the same jobs; at least one job. */
export const jobMetrics = (jobs: readonly string[]) =>
  defineMetrics({
    ringmain_job_runs_total: counter({
      help: 'Runs of a job in this process, by their outcome.',
      labels: { job: jobs, outcome: outcomes },
    }),
    ringmain_job_running: gauge({ help: '1: the job runs in this process now.', labels: { job: jobs } }),
    ringmain_job_failures: gauge({
      help: 'Consecutive failed runs; 0 after a successful one.',
      labels: { job: jobs },
      threads: 'max',
    }),
    ringmain_job_last_run_timestamp_seconds: gauge({
      help: 'Start of the last run in this process, in seconds since 1970; 0: none yet.',
      labels: { job: jobs },
      threads: 'max',
    }),
    ringmain_job_next_run_timestamp_seconds: gauge({
      help: 'Next time of the job, in seconds since 1970.',
      labels: { job: jobs },
      threads: 'max',
    }),
    ringmain_job_duration_seconds: gauge({
      help: 'Duration of the last run in this process.',
      labels: { job: jobs },
      threads: 'max',
    }),
  });

type JobMeters = Meters<ReturnType<typeof jobMetrics>>;

/** Puts the reports of the scheduler on the board of metrics. */
export function tellMetrics(meters: JobMeters): (report: JobReport) => void {
  const counted = new Map<string, Pick<JobReport, (typeof outcomes)[number]>>();
  return (report) => {
    const { name: job, state, failures, lastMs, durationMs, nextMs } = report;
    const before = counted.get(job) ?? { ok: 0, failed: 0 };
    for (const outcome of outcomes)
      meters.ringmain_job_runs_total.at({ job, outcome }).add(report[outcome] - before[outcome]);
    counted.set(job, report);
    meters.ringmain_job_running.at({ job }).set(state === 'running' ? 1 : 0);
    meters.ringmain_job_failures.at({ job }).set(failures);
    meters.ringmain_job_last_run_timestamp_seconds.at({ job }).set((lastMs ?? 0) / 1000);
    meters.ringmain_job_next_run_timestamp_seconds.at({ job }).set(nextMs / 1000);
    meters.ringmain_job_duration_seconds.at({ job }).set((durationMs ?? 0) / 1000);
  };
}
