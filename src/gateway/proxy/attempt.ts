/**
 * Attempt: a request at one backend, from its dispatch to the last byte of the answer. The lease of the place is given
 * back exactly once, when the attempt is over.
 *
 * Between its head and pipe() a small answer is kept, and a large one stands still, as it does whenever the sink has
 * enough: a slow client then holds what is kept and what the socket has read so far, and the backend waits.
 */
import type { Lease, LeaseOutcome } from '../balance/balancer.ts';
import type { AnswerHead } from './answer-head.ts';
import type { AnswerReader, Connection } from './connection.ts';
import type { ConnectionPool } from './connection-pool.ts';
import { answerHeaders } from './hop-headers.ts';
import type { UpstreamAnswer, UpstreamFlow, UpstreamSink } from './upstream.ts';

export interface AttemptOwner {
  readonly method: 'GET' | 'HEAD';
  /** Whether an answer with this status is not passed on, because the request goes to another backend now. */
  retries(status: number, attempt: Attempt): boolean;
  /** The head is here. */
  answered(answer: UpstreamAnswer): void;
  /** There will be no answer. */
  failed(error: Error): void;
  /** Nothing more comes of this attempt. Called before failed(), and before the sink hears of the end. */
  over(): void;
}

/** Kept of an answer before somebody reads it; the most is this and one piece of the socket (64 KiB). */
const EARLY_BYTES_MAX = 64 * 1024;
const DISCARD_BYTES_MAX = 64 * 1024;

export class Attempt implements AnswerReader, UpstreamAnswer, UpstreamFlow {
  readonly lease: Lease;
  readonly backendId: number;
  readonly bodiless: boolean;
  readonly #owner: AttemptOwner;
  #connection: Connection | undefined = undefined;
  #sink: UpstreamSink | undefined = undefined;
  /** The sink has enough. */
  #full = false;
  status = 0;
  length: number | undefined = undefined;
  headers: UpstreamAnswer['headers'] = [];
  /** What came before the sink, or before it has taken what came earlier. */
  #early: Buffer[] | undefined = undefined;
  #earlyBytes = 0;
  /** How the answer ended; the sink hears of it behind the last byte. */
  #ended: { readonly error?: Error } | undefined = undefined;
  /** The sink has heard of the end, or wants to hear nothing more. */
  #told = false;
  /** Nothing more comes from the backend. */
  #over = false;

  constructor(owner: AttemptOwner, lease: Lease) {
    this.#owner = owner;
    this.lease = lease;
    this.backendId = lease.backendId;
    this.bodiless = owner.method === 'HEAD';
  }

  send(pool: ConnectionPool, request: string): void {
    this.#connection = pool.send(request, this);
  }

  // AnswerReader.

  head({ status, headers, length }: AnswerHead): void {
    if (this.#owner.retries(status, this)) return;
    this.status = status;
    this.length = length;
    this.headers = answerHeaders(headers);
    this.#owner.answered(this);
  }

  chunk(bytes: Buffer): boolean {
    if (this.#over) return true;
    if (this.#sink !== undefined && !this.#full && this.#early === undefined) {
      this.#full = !this.#sink.chunk(bytes);
      return !this.#full;
    }
    this.#early ??= [];
    this.#early.push(bytes);
    this.#earlyBytes += bytes.length;
    return !this.#full && this.#earlyBytes < EARLY_BYTES_MAX;
  }

  end(): void {
    if (this.#over) return;
    this.#finish(this.status < 500 ? 'answered' : 'failed');
    this.#end();
  }

  failed(error: Error): void {
    if (this.#over) return;
    this.#finish('failed');
    if (this.status === 0) this.#owner.failed(error);
    else this.#end(error);
  }

  // UpstreamAnswer.

  pipe(sink: UpstreamSink): UpstreamFlow {
    this.#sink = sink;
    this.resume();
    return this;
  }

  /** A short rest is read, so that the connection can be used again. */
  discard(): void {
    let bytes = 0;
    this.pipe({
      chunk: (chunk) => {
        bytes += chunk.length;
        if (bytes > DISCARD_BYTES_MAX) this.cancel();
        return true;
      },
      end: () => undefined,
      failed: () => undefined,
    });
  }

  // UpstreamFlow.

  /** For the sink: there is room again. */
  resume(): void {
    this.#full = false;
    while (this.#early !== undefined) {
      const bytes = this.#early.shift();
      if (bytes === undefined) {
        this.#early = undefined;
        break;
      }
      this.#earlyBytes -= bytes.length;
      if (this.#sink!.chunk(bytes)) continue;
      this.#full = true;
      return;
    }
    if (this.#ended !== undefined) this.#tell();
    else if (!this.#over) this.#connection?.resume();
  }

  /** Nobody wants the answer, or the rest of it. */
  cancel(): void {
    this.#told = true;
    this.#early = undefined;
    this.stop('given_up');
  }

  /** Ends it from this side; the sink hears of the error, when there is one. */
  stop(outcome: LeaseOutcome, error?: Error): void {
    if (this.#over) return;
    this.#finish(outcome);
    this.#connection?.abandon();
    if (error !== undefined) this.#end(error);
  }

  #finish(outcome: LeaseOutcome): void {
    this.#over = true;
    this.lease.release(outcome);
    this.#owner.over();
  }

  #end(error?: Error): void {
    this.#ended = error === undefined ? {} : { error };
    // What is not whole is not worth the rest of it.
    if (error !== undefined) this.#early = undefined;
    if (this.#early === undefined) this.#tell();
  }

  #tell(): void {
    const { error } = this.#ended!;
    if (this.#told || this.#sink === undefined) return;
    this.#told = true;
    if (error === undefined) this.#sink.end();
    else this.#sink.failed(error);
  }
}
