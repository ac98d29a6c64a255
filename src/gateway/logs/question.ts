/**
 * Question of GET /api/v1/logs: filters and a place in the log, read from a query.
 *
 *   user_id, key_id    whose requests
 *   status             429, or a class: 4xx
 *   outcome            as in the metrics: hit, limited, no_key, ...
 *   from, to           RFC 3339; from is part of the range, to is not
 *   path               what request_path begins with
 *   limit              1 to 1000; 100 when it is left out
 *   cursor             `next` of the page before
 *
 * The newest comes first.
 */
import { serviceErrors } from '../../service/errors.ts';

export type { LogEntry, LogsPage } from './contract.ts';

export const LOGS_AREA = 'logs';
export const LOGS_LIMIT_MAX = 1000;
const LIMIT = 100;
const PATH_MAX = 8192;

export interface LogsQuestion {
  readonly userId?: number;
  readonly keyId?: string;
  /** From the first status to the last. */
  readonly status?: readonly [number, number];
  readonly outcome?: string;
  readonly fromMs?: number;
  readonly toMs?: number;
  readonly path?: string;
  readonly limit: number;
  /** Entries before this one. */
  readonly before?: Place;
}

/** Where an entry stands. */
export interface Place {
  readonly ms: number;
  readonly id: number;
}

export const cursorOf = ({ ms, id }: Place): string => Buffer.from(`${ms} ${id}`).toString('base64url');

const refused = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });

type Take = (text: string) => Partial<LogsQuestion>;

const parameters: Readonly<Record<string, Take>> = {
  user_id: (text) => ({ userId: whole('user_id', text, 1, Number.MAX_SAFE_INTEGER) }),
  key_id: (text) => {
    if (!/^[0-9A-Za-z]{12}$/.test(text)) throw refused(`key_id must be 12 letters and digits: found=${text}`);
    return { keyId: text };
  },
  status: (text) => {
    const [, digit, exact] = /^(?:([1-5])xx|([1-5]\d\d))$/.exec(text) ?? [];
    if (digit !== undefined) return { status: [Number(digit) * 100, Number(digit) * 100 + 99] };
    if (exact !== undefined) return { status: [Number(exact), Number(exact)] };
    throw refused(`status must be like 429 or 4xx: found=${text}`);
  },
  outcome: (text) => {
    if (!/^[a-z_]{1,40}$/.test(text)) throw refused(`outcome must be a word like limited: found=${text}`);
    return { outcome: text };
  },
  from: (text) => ({ fromMs: instant('from', text) }),
  to: (text) => ({ toMs: instant('to', text) }),
  path: (text) => {
    if (text.length > PATH_MAX || text.includes('\0')) throw refused(`path must be at most ${PATH_MAX} characters`);
    return { path: text };
  },
  limit: (text) => ({ limit: whole('limit', text, 1, LOGS_LIMIT_MAX) }),
  cursor: (text) => {
    const [, ms, id] = /^(-?\d{1,15}) (\d{1,16})$/.exec(Buffer.from(text, 'base64url').toString()) ?? [];
    if (ms === undefined) throw refused('cursor must be `next` of a page');
    return { before: { ms: Number(ms), id: Number(id) } };
  },
};

/** Throws INPUT_REFUSED for a parameter that is unknown, given twice, or not what it must be. */
export function readLogsQuestion(query: string): LogsQuestion {
  let question: LogsQuestion = { limit: LIMIT };
  const seen = new Set<string>();
  for (const [name, value] of new URLSearchParams(query)) {
    const take = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    if (take === undefined)
      throw refused(`a filter must be one of ${Object.keys(parameters).join(', ')}: found=${name.slice(0, 100)}`);
    if (seen.has(name)) throw refused(`${name} must be given once`);
    seen.add(name);
    question = { ...question, ...take(value.slice(0, PATH_MAX + 1)) };
  }
  return question;
}

function whole(name: string, text: string, min: number, max: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw refused(`${name} must be a whole number from ${min} to ${max}: found=${text.slice(0, 100)}`);
}

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d:\d\d)$/;

function instant(name: string, text: string): number {
  const ms = RFC3339.test(text) ? Date.parse(text.replace(' ', 'T')) : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw refused(`${name} must be a time like 2026-11-29T06:00:00Z: found=${text.slice(0, 100)}`);
}
