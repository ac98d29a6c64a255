/**
 * Upstream: a GET or HEAD to one of the backends. It is tried again at another one before the first byte of the answer
 * is here, within the retry budget; framing headers never travel in either direction.
 */
export interface UpstreamRequest {
  readonly method: 'GET' | 'HEAD';
  /** As it goes on the wire: signed, with the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Ends it; left out, only its time does. */
  readonly signal?: AbortSignal;
  /** What the backend itself asks for; no `authorization` among `headers` travels, for it is a client's. */
  readonly authorization?: string;
}

export interface UpstreamAnswer {
  readonly status: number;
  /** Names in lower case; without those of the connection and of framing. */
  readonly headers: readonly (readonly [string, string])[];
  /** Bytes of the body, when the backend says so. A body of another length fails. */
  readonly length: number | undefined;
  readonly backendId: number;
  /** Lets the body flow into the sink. Either this or discard() is called, once: the place at the backend is held. */
  pipe(sink: UpstreamSink): UpstreamFlow;
  /** Nobody wants the body. */
  discard(): void;
}

export interface UpstreamSink {
  /** False: no more, until resume(). The bytes are the sink's. */
  chunk(bytes: Uint8Array): boolean;
  end(): void;
  /** The body is not whole. */
  failed(error: unknown): void;
}

export interface UpstreamFlow {
  resume(): void;
  /** Nobody wants the rest. */
  cancel(): void;
}

export interface Upstream {
  /** Resolves when the head of the answer is here. Rejects with NO_BACKEND, BACKENDS_BUSY, BACKEND_FAILED, BACKEND_TIMEOUT. */
  get(request: UpstreamRequest): Promise<UpstreamAnswer>;
  close(): Promise<void>;
}
