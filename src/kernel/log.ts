/**
 * Log: pino JSON lines, one sentence and then fields; never a line per event.
 *
 * Each thread makes its own logger on the same file descriptor. A line is one write(2), so lines of different threads do not
 * mix (into a pipe the system promises that up to 4 KiB). Writes are synchronous: the last words of a thread that dies are the
 * ones that matter.
 */
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import { type Clock, systemClock } from './clock.ts';
import { defineConfig, oneOf } from './config.ts';

export type { Logger } from 'pino';

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export const kernelConfig = defineConfig('kernel', {
  logLevel: oneOf(logLevels, {
    default: 'info',
    yaml: 'log.level',
    doc: 'Least severe level of our own log that is written. There is no line per event at any level.',
  }),
});

export interface LogOptions {
  readonly level: LogLevel;
  /** 1 is stdout, 2 is stderr: the log yields stdout to a sink that writes events there. */
  readonly destination: 1 | 2;
  /** The thread, as in `acceptor-1`. */
  readonly name: string;
  /** For tests: where lines go instead of the file descriptor. */
  readonly stream?: DestinationStream;
}

/** A logger for this thread. */
export function createLog({ level, destination, name, stream }: LogOptions): Logger {
  return pino(
    {
      name,
      level,
      base: { pid: process.pid, name },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream ?? pino.destination({ dest: destination, sync: true }),
  );
}

interface Watched {
  up: boolean;
  /** When the line about `up` was written; -Infinity: never. */
  loggedMs: number;
  /** Changes seen since that line, the present one included. */
  changes: number;
  last: boolean;
}

export interface TransitionsOptions {
  /** Least time between two lines about one key. */
  readonly quietMs?: number;
  /** Keys that are watched at most; further ones throw, for keys are a closed set (sinks, disks). */
  readonly keysMax?: number;
  readonly clock?: Clock;
}

/**
 * Logs that something went away once, and once that it returned, however often it is observed. Everything counts as up at
 * first. Something that flaps gets a line per `quietMs` at most, with the number of changes since the last one; the line
 * that is owed is written by the first observation after that time, so the log always ends with the truth.
 */
export class Transitions {
  private readonly log: Pick<Logger, 'info' | 'warn'>;
  private readonly clock: Clock;
  private readonly quietMs: number;
  private readonly keysMax: number;
  private readonly watched = new Map<string, Watched>();

  constructor(log: Pick<Logger, 'info' | 'warn'>, options: TransitionsOptions = {}) {
    this.log = log;
    this.clock = options.clock ?? systemClock;
    this.quietMs = options.quietMs ?? 10_000;
    this.keysMax = options.keysMax ?? 256;
  }

  /** It is away. Call at every failed try; `sentence` and `fields` are used when this call writes the line. */
  down(key: string, sentence: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.observe(key, false, sentence, fields);
  }

  /** It is there. Call at every success: cheap when nothing changed. */
  up(key: string, sentence: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.observe(key, true, sentence, fields);
  }

  private observe(key: string, up: boolean, sentence: string, fields: Readonly<Record<string, unknown>>): void {
    const state = this.watched.get(key) ?? this.watch(key);
    if (up !== state.last) {
      state.last = up;
      state.changes += 1;
    }
    if (up === state.up) return;
    const nowMs = this.clock.elapsed();
    const sinceMs = nowMs - state.loggedMs;
    if (sinceMs < this.quietMs) return;
    const line = {
      ...fields,
      ...(state.changes > 1 ? { changes: state.changes } : {}),
      ...(up && Number.isFinite(sinceMs) ? { downMs: Math.round(sinceMs) } : {}),
    };
    if (up) this.log.info(line, sentence);
    else this.log.warn(line, sentence);
    state.up = up;
    state.loggedMs = nowMs;
    state.changes = 0;
  }

  private watch(key: string): Watched {
    if (this.watched.size >= this.keysMax) throw new RangeError(`keys must be at most ${this.keysMax}: key=${key}`);
    const state: Watched = { up: true, loggedMs: Number.NEGATIVE_INFINITY, changes: 0, last: true };
    this.watched.set(key, state);
    return state;
  }
}
