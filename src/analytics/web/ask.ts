/**
 * Ask: questions to the server. An answer is kept in memory by its address, so a view that was seen comes back at once;
 * a question whose view has gone is aborted. Answers about a time that still runs are asked for again by refresh().
 */
import type { Problem } from '../../web/problem.ts';

/** Answers that are kept: the oldest goes first. */
const KEPT_MAX = 300;
/** Kept answers are shown as they are for this long; later they are shown and asked for again. */
const FRESH_MS = 30_000;

interface Kept {
  readonly answer: unknown;
  readonly at: number;
}
const kept = new Map<string, Kept>();

/** A refusal, in the words of the server where it gave any (RFC 9457). */
export class Refused extends Error {
  /** 0: there was no answer at all. */
  readonly status: number;
  readonly code: string;
  constructor(status: number, message: string, code = '') {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** What is kept, however old; undefined: never asked. */
export const known = <T>(url: string): T | undefined => kept.get(url)?.answer as T | undefined;

/** When it was asked for, by the wall clock. */
export const knownSinceMs = (url: string): number =>
  Date.now() - (performance.now() - (kept.get(url)?.at ?? performance.now()));

export function isFresh(url: string): boolean {
  const entry = kept.get(url);
  return entry !== undefined && performance.now() - entry.at < FRESH_MS;
}

export async function ask<T>(url: string, signal?: AbortSignal): Promise<T> {
  const answer = await send('GET', url, undefined, signal);
  const value = (await answer.json()) as T;
  kept.delete(url);
  kept.set(url, { answer: value, at: performance.now() });
  if (kept.size > KEPT_MAX) kept.delete(kept.keys().next().value!);
  return value;
}

/** What was kept is outdated: after a login, a new goal and the like. */
export const forget = (): void => kept.clear();

let csrf = '';
/** Goes with everything that changes something: a page of another origin cannot know it. */
export const useCsrf = (token: string | null): void => {
  csrf = token ?? '';
};

export async function send(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (method !== 'GET' && csrf !== '') headers['x-csrf-token'] = csrf;
  let answer: Response;
  try {
    answer = await fetch(url, {
      method,
      headers,
      credentials: 'same-origin',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Refused(0, 'The server does not answer. It may be restarting, or the network is down.');
  }
  if (answer.ok) return answer;
  const problem = (await answer.json().catch(() => ({}))) as Problem;
  // What went wrong inside the server is for its log; whoever looks at figures reads what it means for them.
  const parts = answer.status < 500 ? [problem.title, problem.detail] : [problem.title];
  const words = parts.filter((one) => one !== undefined && one !== '');
  const message = words.length === 0 ? `The server answered ${answer.status}.` : words.join(': ');
  throw new Refused(answer.status, message, problem.code);
}

export const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === 'AbortError';
