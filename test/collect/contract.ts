/**
 * The HTTP contract as cases, one per sentence, run twice: over a fake lane in this process (contract.test.ts), and against the real
 * process, reading its NDJSON file (test/e2e/http-contract.test.ts).
 *
 * A subject is one server per set of options, shared by the cases that want those options. What a case recorded it learns by
 * `recorded()`: that sends a marker event and returns what was recorded since the last marker, in order.
 */

import assert from 'node:assert/strict';
import { expect } from 'vitest';
import { type Answer, type RequestOptions, request } from '../http/raw.ts';

export type EventLine = Readonly<Record<string, unknown>> & {
  readonly event_id: string;
  /** Absent when empty. */
  readonly props: Readonly<Record<string, unknown>>;
  readonly utm: Readonly<Record<string, unknown>>;
  readonly geo: Readonly<Record<string, unknown>>;
};

export interface Subject {
  readonly port: number;
  /** All lines recorded so far. */
  lines(): string[];
}

export type Options = Readonly<Record<string, string>>;
export type StartSubject = (options: Options) => Promise<Subject>;

/** What a case works with. */
export class Client {
  readonly subject: Subject;
  #seen: number;
  static #marks = 0;

  constructor(subject: Subject) {
    this.subject = subject;
    this.#seen = subject.lines().length;
  }

  get port(): number {
    return this.subject.port;
  }

  get(target: string, options?: RequestOptions): Promise<Answer> {
    return request(this.port, target, options);
  }

  post(body: unknown, options: RequestOptions = {}): Promise<Answer> {
    const bytes = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    const headers = options.headers ?? ['Content-Type: application/json'];
    return request(this.port, '/collect', { method: 'POST', ...options, headers, body: bytes });
  }

  /** What was recorded since the last call. */
  async recorded(): Promise<EventLine[]> {
    const name = `marker-${process.pid}-${Client.#marks++}`;
    const needle = `"e":"${name}"`;
    assert.equal((await this.get(`/px.gif?e=${name}`)).status, 200);
    const mark = () => this.subject.lines().findIndex((line, i) => i >= this.#seen && line.includes(needle));
    await expect
      .poll(mark, { message: 'an acknowledged event must be recorded within 10 s', timeout: 10_000, interval: 5 })
      .toBeGreaterThanOrEqual(0);
    const at = mark();
    const found = this.subject.lines().slice(this.#seen, at);
    this.#seen = at + 1;
    return found.map((line) => JSON.parse(line) as EventLine);
  }

  /** Sends a pixel and returns the one event it made. */
  async pixel(query: string, headers: readonly string[] = []): Promise<EventLine> {
    const answer = await this.get(`/px.gif${query}`, { headers });
    assert.equal(answer.status, 200);
    return this.one();
  }

  /** The one event recorded since the last call. */
  async one(): Promise<EventLine> {
    const events = await this.recorded();
    assert.equal(events.length, 1, `one event must be recorded: found ${events.length}`);
    return events[0]!;
  }

  async none(): Promise<void> {
    assert.deepEqual(await this.recorded(), []);
  }
}

export interface Case {
  readonly name: string;
  readonly options: Options;
  readonly run: (client: Client) => Promise<void>;
}

/** Collects cases: `cases.add('sentence', async (client) => ...)`, with options when they need a server of their own. */
export class Cases {
  readonly all: Case[] = [];

  add(name: string, run: (client: Client) => Promise<void>, options: Options = {}): void {
    this.all.push({ name, options, run });
  }
}

/** Checks an answer's status and that it is a problem of that code. */
export function assertProblem(answer: Answer | undefined, status: number, code: string): Record<string, unknown> {
  assert.ok(answer, 'there must be an answer');
  assert.equal(answer.status, status, answer.text());
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  const problem = answer.json() as Record<string, unknown>;
  assert.equal(problem['status'], status);
  assert.equal(problem['code'], code);
  assert.equal(typeof problem['title'], 'string');
  assert.equal(typeof problem['detail'], 'string');
  assert.match(String(problem['type']), /^urn:ringmain:problem:/);
  return problem;
}
