/**
 * Log: pino JSON lines, one sentence and then fields; never a line per event.
 *
 * Each thread has its own logger on the same file descriptor. A line is one write(2), so lines of different threads do
 * not mix (for a pipe the system guarantees this up to 4 KiB). Writes are synchronous, because the last lines of a
 * dying thread matter most.
 */
import { isatty } from 'node:tty';
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import { type Clock, systemClock } from './clock.ts';
import { type ConfigOf, defineConfig, oneOf } from './config.ts';
import { textLines } from './log-text.ts';

export type { Logger } from 'pino';

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export const kernelConfig = defineConfig('kernel', {
  logLevel: oneOf(logLevels, {
    default: 'info',
    yaml: 'log.level',
    doc: 'Minimum level of our own log. No level logs a line per event.',
  }),
  logFormat: oneOf(['auto', 'json', 'text'], {
    default: 'auto',
    yaml: 'log.format',
    doc: 'Format of our own log. auto: readable lines on a terminal, JSON everywhere else.',
  }),
});
export type KernelConfig = ConfigOf<typeof kernelConfig>;

/** Where the threads of a process log to, and how; plain data. */
export interface LogTarget {
  readonly level: LogLevel;
  /** 1 is stdout, 2 is stderr. The log goes to stderr when a sink writes events to stdout. */
  readonly destination: 1 | 2;
  /** Readable lines for people instead of JSON. */
  readonly text?: boolean;
}

export const logTarget = ({ logLevel, logFormat }: KernelConfig, destination: 1 | 2): LogTarget => ({
  level: logLevel,
  destination,
  text: logFormat === 'text' || (logFormat === 'auto' && isatty(destination)),
});

export interface LogOptions extends LogTarget {
  /** The thread, as in `acceptor-1`. */
  readonly name: string;
  /** For tests: where lines go instead of the file descriptor. */
  readonly stream?: DestinationStream;
}

/** A logger for this thread. */
export function createLog({ level, destination, text = false, name, stream }: LogOptions): Logger {
  return pino(
    {
      name,
      level,
      base: { pid: process.pid, name },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream ?? (text ? textLines(destination) : pino.destination({ dest: destination, sync: true })),
  );
}

interface Watched {
  up: boolean;
  /** When the line about `up` was written; -Infinity: never. */
  loggedMs: number;
  /** Changes seen since that line, the present one included. */
  changes: number;
  last: boolean;
  /** When it last went away, and for how long it was away in all since the last line that said it was back. */
  wentMs: number;
  awayMs: number;
  /** The words for `last`, for a line that was held back. */
  sentence: string;
  fields: Readonly<Record<string, unknown>>;
}

export interface TransitionsOptions {
  /** Least time between two lines about one key. */
  readonly quietMs?: number;
  /** Largest number of keys. One more throws, because keys are a closed set (sinks, disks). */
  readonly keysMax?: number;
  readonly clock?: Clock;
}

/**
 * Logs once that something went away and once that it returned and after how long, however often callers report it.
 * Everything counts as up at first. Something that flaps gets at most one line per `quietMs`, with the number of
 * changes since the previous line. The first report or look() after that time writes a line that was held back, so the
 * last line tells the present state.
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

  /** Reports that it is away. A call that writes the line uses `sentence` and `fields`. */
  down(key: string, sentence: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.observe(key, false, sentence, fields);
  }

  /** Reports that it is there. Call at every success; a call without a change is cheap. */
  up(key: string, sentence: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.observe(key, true, sentence, fields);
  }

  /** Writes the lines that were held back and are due. Whoever reports changes alone calls it now and then. */
  look(): void {
    for (const state of this.watched.values()) if (state.last !== state.up) this.write(state);
  }

  private observe(key: string, up: boolean, sentence: string, fields: Readonly<Record<string, unknown>>): void {
    const state = this.watched.get(key) ?? this.watch(key);
    if (up !== state.last) {
      state.last = up;
      state.changes += 1;
      const nowMs = this.clock.elapsed();
      if (up) state.awayMs += nowMs - state.wentMs;
      else state.wentMs = nowMs;
    }
    if (up === state.up) return;
    state.sentence = sentence;
    state.fields = fields;
    this.write(state);
  }

  private write(state: Watched): void {
    const nowMs = this.clock.elapsed();
    if (nowMs - state.loggedMs < this.quietMs) return;
    const { last: up, sentence } = state;
    const line = {
      ...state.fields,
      ...(state.changes > 1 ? { changes: state.changes } : {}),
      ...(up ? { downMs: Math.round(state.awayMs) } : {}),
    };
    if (up) this.log.info(line, sentence);
    else this.log.warn(line, sentence);
    state.up = up;
    state.loggedMs = nowMs;
    state.changes = 0;
    if (up) state.awayMs = 0;
  }

  private watch(key: string): Watched {
    if (this.watched.size >= this.keysMax) throw new RangeError(`keys must be at most ${this.keysMax}: key=${key}`);
    const state: Watched = {
      up: true,
      loggedMs: Number.NEGATIVE_INFINITY,
      changes: 0,
      last: true,
      wentMs: 0,
      awayMs: 0,
      sentence: '',
      fields: {},
    };
    this.watched.set(key, state);
    return state;
  }
}
