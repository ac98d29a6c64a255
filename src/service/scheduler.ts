/**
 * Scheduler: runs the jobs of a service at their times, on one worker thread per process (scheduler-worker.ts).
 *
 *   at     'HH:MM' UTC, every day           every  ms; its times are multiples of the interval since 1970
 *   lock   one run per time among all processes that share the database (store/postgres/job-ledger.ts); a time that
 *          passed while no process ran is made up for once. Jobs that share a name of a lock never run at the same time
 *          Left out, or without a database: each process runs it for itself and makes up for nothing
 *
 * Always true:
 *   a job never overlaps itself; times that pass while it runs, or while the clock jumps forward, become one run
 *   a time that has had its run is not run again, also when the clock is set back by less than one interval. Set back
 *   further, the job waits for its next time by the new clock
 *   a run that throws is repeated after a pause that doubles to RETRY_MS_MAX, for as long as it throws
 * A locked job whose process dies runs again on another process, so it must bear to be repeated.
 */
import { type Clock, systemClock } from '../kernel/clock.ts';
import { type Logger, Transitions } from '../kernel/log.ts';
import { textOf } from '../kernel/place.ts';
import type { LedgerEnd, LedgerEntry, PostgresJobLedger } from '../store/postgres/job-ledger.ts';
import type { WorkerFrame } from './contract.ts';

interface JobBase<V, Shared> {
  /** Metric label, key of its row: lower case, digits, `-` and `_`. */
  readonly name: string;
  /** true: a lock of its own; a text: a lock that it shares with the jobs that name it too. */
  readonly lock?: boolean | string;
  /** `frame.signal` fires when the process drains, and when the lock was lost with its session. */
  run(frame: JobFrame<V, Shared>): Promise<unknown> | unknown;
}
interface DailyJob<V, Shared> extends JobBase<V, Shared> {
  readonly at: string;
  readonly every?: never;
}
interface IntervalJob<V, Shared> extends JobBase<V, Shared> {
  readonly every: number;
  readonly at?: never;
}
// biome-ignore lint/suspicious/noExplicitAny: the scheduler never looks into the values of the service.
export type Job<V = any, Shared = any> = DailyJob<V, Shared> | IntervalJob<V, Shared>;

/** Default export of a jobs module. */
// biome-ignore lint/suspicious/noExplicitAny: the scheduler never looks into the values of the service.
export type Jobs<V = any, Shared = any> = (values: V) => readonly Job<V, Shared>[];

type Given<V, Shared> = Pick<WorkerFrame<V, Shared>, 'values' | 'shared' | 'log' | 'meters' | 'lane' | 'publish'>;

export interface JobFrame<V, Shared> extends Given<V, Shared> {
  readonly signal: AbortSignal;
  /** The time that this run is for; it may have come later. */
  readonly due: Date;
}

/** How a job stands, for metrics, readiness and people. */
export interface JobReport {
  readonly name: string;
  /** elsewhere: another process runs it. failing: its last run threw. away: the database of the locks is away. */
  readonly state: 'waiting' | 'running' | 'elsewhere' | 'failing' | 'away';
  /** Why it is failing or away. */
  readonly reason: string | undefined;
  /** Begin and duration of the last run in this process, and whether it threw. */
  readonly lastMs: number | undefined;
  readonly durationMs: number | undefined;
  readonly outcome: 'ok' | 'failed' | undefined;
  /** Runs of this process that ended well, and that threw. */
  readonly ok: number;
  readonly failed: number;
  /** Runs in a row that threw. */
  readonly failures: number;
  /** Its next time, by the wall clock. */
  readonly nextMs: number;
}

/** Who may run a locked job now, and which times have had their run. */
export type JobLedger = Pick<PostgresJobLedger, 'enter' | 'close'>;

export interface SchedulerDeps<V, Shared> {
  readonly frame: Given<V, Shared>;
  /** Left out: no database, no locks. */
  readonly ledger?: JobLedger | undefined;
  readonly log: Logger;
  /** Called with each change of a job. */
  readonly tell: (report: JobReport) => void;
  readonly clock?: Clock;
}

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const RETRY_MS_MIN = 1000;
export const RETRY_MS_MAX = 300_000;
/** The wall clock is looked at this often at least, for somebody may set it. */
const LOOK_MS_MAX = 1000;
/** Between two looks whether another process has finished its run. */
const BUSY_MS = 5000;

interface Seat {
  readonly job: Job;
  readonly intervalMs: number;
  /** The newest time that has had its run. */
  doneMs: number;
  /** By clock.elapsed(): no try before. */
  notBefore: number;
  /** Tries in a row that found no database. */
  away: number;
  running: Promise<void> | undefined;
  report: JobReport;
}

export class Scheduler<V, Shared> {
  readonly #deps: SchedulerDeps<V, Shared>;
  readonly #clock: Clock;
  readonly #told: Transitions;
  readonly #seats: readonly Seat[];
  readonly #drain = new AbortController();

  constructor(jobs: readonly Job[], deps: SchedulerDeps<V, Shared>) {
    checkJobs(jobs);
    this.#deps = deps;
    this.#clock = deps.clock ?? systemClock;
    this.#told = new Transitions(deps.log, { clock: this.#clock });
    const now = this.#clock.now();
    this.#seats = jobs.map((job) => this.#seat(job, now));
    for (const { report } of this.#seats) deps.tell(report);
  }

  /** Starts what is due. Returns after how many ms to call it again. */
  tick(): number {
    const now = this.#clock.now();
    const elapsed = this.#clock.elapsed();
    let wait = LOOK_MS_MAX;
    this.#told.look();
    for (const seat of this.#seats) {
      if (seat.running !== undefined || this.#drain.signal.aborted) continue;
      const dueMs = dueAt(seat.job, now);
      if (seat.doneMs > dueMs + seat.intervalMs) seat.doneMs = dueMs; // the clock was set back: its next time counts
      if (dueMs <= seat.doneMs) {
        this.#tell(seat, { nextMs: seat.doneMs + seat.intervalMs });
        wait = Math.min(wait, dueMs + seat.intervalMs - now);
      } else if (elapsed < seat.notBefore) wait = Math.min(wait, seat.notBefore - elapsed);
      else {
        seat.running = this.#attempt(seat, dueMs).finally(() => {
          seat.running = undefined;
        });
      }
    }
    return Math.max(1, wait);
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    await Promise.all(this.#seats.map(({ running }) => running));
  }

  /** Starts nothing any more, fires the signal of what runs, and resolves when that has ended. */
  async end(): Promise<void> {
    this.#drain.abort();
    await this.idle();
    await this.#deps.ledger?.close();
  }

  #seat(job: Job, now: number): Seat {
    const intervalMs = job.every ?? DAY_MS;
    const locked = this.#locked(job);
    const dueMs = dueAt(job, now);
    return {
      job,
      intervalMs,
      doneMs: locked ? Number.NEGATIVE_INFINITY : dueMs,
      notBefore: 0,
      away: 0,
      running: undefined,
      report: {
        name: job.name,
        state: 'waiting',
        reason: undefined,
        lastMs: undefined,
        durationMs: undefined,
        outcome: undefined,
        ok: 0,
        failed: 0,
        failures: 0,
        nextMs: locked ? dueMs : dueMs + intervalMs,
      },
    };
  }

  #locked({ lock }: Job): boolean {
    return this.#deps.ledger !== undefined && lock !== undefined && lock !== false;
  }

  async #attempt(seat: Seat, dueMs: number): Promise<void> {
    const { job, intervalMs } = seat;
    const { ledger } = this.#deps;
    let entry: LedgerEntry | undefined;
    if (this.#locked(job)) {
      const lock = typeof job.lock === 'string' ? job.lock : job.name;
      try {
        entry = await ledger!.enter(job.name, lock, dueMs, intervalMs, this.#clock.now());
      } catch (error) {
        const reason = textOf(error);
        this.#told.down('ledger', 'the database for job locks is down; jobs are waiting', { job: job.name, reason });
        this.#pause(seat, pauseMs(seat.away));
        seat.away += 1;
        this.#tell(seat, { state: 'away', reason });
        return;
      }
      seat.away = 0;
      this.#told.up('ledger', 'the database for job locks is back');
    }
    if (entry === undefined || entry.kind === 'mine') await this.#run(seat, dueMs, entry);
    else if (entry.kind === 'done') {
      seat.doneMs = entry.dueMs;
      this.#tell(seat, { state: 'waiting', reason: undefined, failures: 0, nextMs: entry.dueMs + intervalMs });
    } else if (entry.kind === 'busy') {
      this.#pause(seat, BUSY_MS);
      this.#tell(seat, { state: 'elsewhere', reason: undefined });
    } else {
      this.#pause(seat, entry.atMs - this.#clock.now());
      this.#tell(seat, { state: 'failing', reason: 'its last run failed in another process', nextMs: entry.atMs });
    }
  }

  async #run(seat: Seat, dueMs: number, entry: Extract<LedgerEntry, { kind: 'mine' }> | undefined): Promise<void> {
    const { job, intervalMs } = seat;
    const { log, frame } = this.#deps;
    const beganMs = this.#clock.now();
    const began = this.#clock.elapsed();
    this.#tell(seat, { state: 'running', lastMs: beganMs });
    const drain = this.#drain.signal;
    const signal = entry === undefined ? drain : AbortSignal.any([drain, entry.lost]);
    const failures = Math.max(seat.report.failures, entry?.failures ?? 0);
    let end: LedgerEnd;
    try {
      await job.run({ ...frame, signal, due: new Date(dueMs) });
      const durationMs = this.#clock.elapsed() - began;
      // The times that an interval job has run through are done. A daily job may be late and end after its next time.
      const doneMs = job.every === undefined ? dueMs : Math.max(dueMs, dueAt(job, this.#clock.now()));
      seat.doneMs = doneMs;
      end = { outcome: 'ok', dueMs: doneMs, beganMs, durationMs };
      const nextMs = doneMs + intervalMs;
      const ok = seat.report.ok + 1;
      this.#tell(seat, { state: 'waiting', reason: undefined, outcome: 'ok', ok, durationMs, failures: 0, nextMs });
    } catch (error) {
      const reason = textOf(error);
      const durationMs = this.#clock.elapsed() - began;
      if (signal.aborted) {
        end = { outcome: 'given_up' };
        log.info({ job: job.name, reason }, 'the job was given up; it runs again');
        this.#tell(seat, { state: 'waiting', durationMs });
      } else {
        const pause = Math.min(intervalMs, pauseMs(failures));
        this.#pause(seat, pause);
        const nextMs = this.#clock.now() + pause;
        end = { outcome: 'failed', retryAtMs: nextMs, beganMs, reason };
        log.error(
          { job: job.name, failures: failures + 1, pauseMs: pause, reason },
          'the job failed; it will be retried',
        );
        const failed = seat.report.failed + 1;
        const change = { outcome: 'failed', failed, durationMs, failures: failures + 1, nextMs } as const;
        this.#tell(seat, { state: 'failing', reason, ...change });
      }
    }
    try {
      await entry?.leave(end);
    } catch (error) {
      const fields = { job: job.name, outcome: end.outcome, reason: textOf(error) };
      log.error(fields, 'the end of the job could not be recorded; another process may run the job again');
    }
  }

  #pause(seat: Seat, ms: number): void {
    seat.notBefore = this.#clock.elapsed() + ms;
  }

  #tell(seat: Seat, change: Partial<JobReport>): void {
    const changed = Object.entries(change).some(([key, value]) => seat.report[key as keyof JobReport] !== value);
    if (!changed) return;
    seat.report = { ...seat.report, ...change };
    this.#deps.tell(seat.report);
  }
}

/** The newest time of the job that is not after `now`. */
export function dueAt(job: Pick<Job, 'at' | 'every'>, now: number): number {
  if (job.at === undefined) return Math.floor(now / job.every!) * job.every!;
  const [hour, minute] = job.at.split(':').map(Number);
  const offset = (hour! * 60 + minute!) * MINUTE_MS;
  return Math.floor((now - offset) / DAY_MS) * DAY_MS + offset;
}

function pauseMs(failures: number): number {
  return Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(failures, 16));
}

function checkJobs(jobs: readonly Job[]): void {
  const names = new Set<string>();
  for (const { name, at, every, lock } of jobs) {
    if (!/^[a-z][a-z0-9_-]{0,62}$/.test(name)) throw new TypeError(`name of a job must be a short word: name=${name}`);
    if (names.has(name)) throw new TypeError(`name of a job must be its own: name=${name}`);
    names.add(name);
    if ((at === undefined) === (every === undefined)) throw new TypeError(`job must have at or every: job=${name}`);
    if (at !== undefined && !/^([01]\d|2[0-3]):[0-5]\d$/.test(at))
      throw new TypeError(`at must read HH:MM: job=${name}, at=${at}`);
    if (every !== undefined && !(Number.isInteger(every) && every > 0))
      throw new TypeError(`every must be whole ms: job=${name}, every=${every}`);
    if (lock === '') throw new TypeError(`lock must have a name: job=${name}`);
  }
}
