/**
 * Log lines for a terminal: time of day, level, thread, sentence, then the fields.
 *
 *   21:55:06.031 WARN  sink-kafka  kafka accepts no events; retrying  reason="connect ECONNREFUSED 127.0.0.1:9092"
 */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { DestinationStream } from 'pino';

const colours: Readonly<Record<string, number>> = { trace: 90, debug: 90, info: 32, warn: 33, error: 31, fatal: 31 };
/** Fields that stand elsewhere in the line, or tell a person nothing. */
const placed = new Set(['level', 'time', 'pid', 'name', 'msg']);

/** Makes a readable line of a JSON line. */
export function readable(json: string, coloured: boolean): string {
  const line = JSON.parse(json) as Readonly<Record<string, unknown>>;
  const { level, time, name, msg } = line as Readonly<Record<'level' | 'time' | 'name' | 'msg', string>>;
  const paint = (code: number, text: string): string => (coloured ? `\u001B[${code}m${text}\u001B[0m` : text);
  const fields = Object.entries(line)
    .filter(([key]) => !placed.has(key))
    .map(
      ([key, value]) =>
        `${paint(36, `${key}=`)}${typeof value === 'string' && !/\s/.test(value) ? value : JSON.stringify(value)}`,
    );
  const mark = paint(colours[level] ?? 0, level.toUpperCase().padEnd(5));
  const words = [`${clockTime(new Date(time))} ${mark} ${paint(90, name)}`, msg, fields.join(' ')];
  return `${words.filter((word) => word !== undefined && word !== '').join('  ')}\n`;
}

/** Local time: a terminal has somebody before it. */
function clockTime(at: Date): string {
  const [h, m, s] = [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0'));
  return `${h}:${m}:${s}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

/** Begins the line of a terminal anew: a progress line of a tool may stand there. */
const FRESH = '\r\u001B[K';

/** A destination for pino that writes readable lines, each with one write(2). */
export function textLines(destination: 1 | 2): DestinationStream {
  const coloured = isatty(destination);
  const begin = coloured ? FRESH : '';
  return {
    write: (json) => {
      try {
        writeSync(destination, begin + readable(json, coloured));
      } catch {
        // A terminal that has gone away, or does not take more now: no line is worth the process.
      }
    },
  };
}
