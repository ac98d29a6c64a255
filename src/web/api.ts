/**
 * Api: questions to the service with the key of administrators. The key stands in memory and in the storage of this tab
 * alone: never in a cookie, which would travel by itself, and never in an address, which is written down everywhere.
 */
import type { Problem } from './problem.ts';

const KEPT = 'ringmain-admin-key';

/** A refusal, in the words of the server where it gave any (RFC 9457). */
export class Refused extends Error {
  /** 0: there was no answer at all. */
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

let key = '';
try {
  key = sessionStorage.getItem(KEPT) ?? '';
} catch {
  // A browser that keeps nothing asks again after a reload.
}

export const isSignedIn = (): boolean => key !== '';

export function signIn(text: string): void {
  key = text;
  try {
    if (text === '') sessionStorage.removeItem(KEPT);
    else sessionStorage.setItem(KEPT, text);
  } catch {
    // As above.
  }
}

/** The answer's JSON; undefined for 204. */
export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const answer = await asked(method, path, 'application/json', body, signal);
  return answer.status === 204 ? (undefined as T) : ((await answer.json()) as T);
}

export interface GivenFile {
  readonly name: string;
  readonly content: Blob;
}

const FILE_NAME = /filename="([^"]+)"/;

/** A file, under the name that the server gives it; `otherwise`: the name when it gives none. */
export async function getFile(path: string, otherwise: string, signal?: AbortSignal): Promise<GivenFile> {
  const answer = await asked('GET', path, '*/*', undefined, signal);
  const name = FILE_NAME.exec(answer.headers.get('content-disposition') ?? '')?.[1] ?? otherwise;
  try {
    return { name, content: await answer.blob() };
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Refused(0, 'The file broke off before its end.');
  }
}

/** An answer that is no refusal. */
async function asked(
  method: string,
  path: string,
  accept: string,
  body: unknown,
  signal: AbortSignal | undefined,
): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers: {
        accept,
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      credentials: 'omit',
      cache: 'no-store',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Refused(0, 'The server does not answer. It may be restarting, or the network is down.');
  }
  if (answer.ok) return answer;
  const problem = (await answer.json().catch(() => ({}))) as Problem;
  if (answer.status === 401) window.dispatchEvent(new Event('signed-out'));
  throw new Refused(answer.status, problem.detail ?? problem.title ?? `The server answered ${answer.status}.`);
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => call<T>('GET', path, undefined, signal);

export const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === 'AbortError';
export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
