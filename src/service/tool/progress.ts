/**
 * Progress: one line on a terminal that tells how far long work has come. It is written over itself, and gone when the
 * work is done. Where standard error is no terminal, nothing is written.
 *
 *   replay to kafka  45 %  1.2 GiB of 2.7 GiB  1,234,567 events  12.3 MiB/s
 */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';

const REDRAW_MS = 100;
/** A terminal that tells no width is taken to have as many columns. */
const COLUMNS = 80;
const FRESH = '\r\u001B[K';
const STDERR = 2;

export type ProgressUnit = 'bytes' | 'events' | 'seconds';

export class Progress {
  /** Whether anybody sees it. */
  readonly shown: boolean = isatty(STDERR);
  readonly #what: string;
  readonly #total: number;
  readonly #unit: ProgressUnit;
  readonly #since = performance.now();
  #drawn = Number.NEGATIVE_INFINITY;

  /** `total` of 0: nobody knows how much there is. */
  constructor(what: string, total: number, unit: ProgressUnit) {
    this.#what = what;
    this.#total = total;
    this.#unit = unit;
  }

  /** So much is done. `events` says how many events those bytes were. Cheap: call it as often as you like. */
  at(done: number, events?: number): void {
    if (!this.shown) return;
    const now = performance.now();
    if (now - this.#drawn < REDRAW_MS) return;
    this.#drawn = now;
    const line = progressLine(this.#what, {
      done,
      events,
      total: this.#total,
      unit: this.#unit,
      ms: now - this.#since,
    });
    this.#write(`${FRESH}${line.slice(0, (process.stderr.columns || COLUMNS) - 1)}`);
  }

  /** Takes the line away, before other words are written and at the end. The next at() draws it again. */
  clear(): void {
    if (!this.shown || this.#drawn === Number.NEGATIVE_INFINITY) return;
    this.#drawn = Number.NEGATIVE_INFINITY;
    this.#write(FRESH);
  }

  #write(text: string): void {
    try {
      writeSync(STDERR, text);
    } catch {
      // A terminal that has gone away: nobody looks any more.
    }
  }
}

export interface Standing {
  readonly done: number;
  readonly events?: number | undefined;
  readonly total: number;
  readonly unit: ProgressUnit;
  /** Time since the begin. */
  readonly ms: number;
}

export function progressLine(what: string, { done, events, total, unit, ms }: Standing): string {
  const show = showIn[unit];
  const share = total > 0 ? `${Math.min(100, Math.floor((100 * done) / total))} %` : undefined;
  const amount = total > 0 ? `${show(done)} of ${show(total)}` : show(done);
  // The first moments say nothing about the rate.
  const rate = ms >= 1000 && unit !== 'seconds' ? `${show(done / (ms / 1000))}/s` : undefined;
  const parts = [what, share, amount, events === undefined ? undefined : showIn.events(events), rate];
  return parts.filter((part) => part !== undefined).join('  ');
}

const showIn: Readonly<Record<ProgressUnit, (amount: number) => string>> = {
  bytes: sizeText,
  events: (count) => `${Math.round(count).toLocaleString('en-US')} events`,
  seconds: (seconds) => `${Math.floor(seconds)} s`,
};

function sizeText(bytes: number): string {
  let [value, unit] = [bytes, 'B'];
  for (const larger of ['KiB', 'MiB', 'GiB', 'TiB']) {
    if (value < 1024) break;
    [value, unit] = [value / 1024, larger];
  }
  return `${unit === 'B' ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
}
