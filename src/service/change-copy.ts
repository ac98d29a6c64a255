/**
 * Change copy: an acceptor's copy of what a worker of its process follows in the database (change-follower.ts). It asks
 * every so often what has changed; never more than one question is under way. While the worker is away, what the copy
 * has stays in force.
 */
import type { AcceptorFrame } from './contract.ts';

export interface Versioned {
  /** Of the change that it was read after. */
  readonly version: number;
}

/** What an acceptor has. */
export interface ChangesQuestion {
  readonly base: number;
  readonly since: number;
}

export interface Changes<I> {
  readonly base: number;
  /** Of the newest change among `items`, or what the acceptor has. */
  readonly version: number;
  /** In the order of their versions. */
  readonly items: readonly I[];
  /** There is more: ask again at once. */
  readonly more: boolean;
}

/** What a copy keeps the items in. */
export interface Index<I> {
  put(item: I): void;
}

/** One reading of the follower, indexed; the one before stays in force until the next one is whole. */
export class ChangeCopy<I, X extends Index<I>> {
  readonly #make: () => X;
  #index: X | undefined;
  /** A reading that is not whole yet. */
  #next: X | undefined;
  #has: ChangesQuestion = { base: 0, since: 0 };

  constructor(make: () => X) {
    this.#make = make;
  }

  /** Undefined: nothing is known yet. */
  get index(): X | undefined {
    return this.#index;
  }

  get question(): ChangesQuestion {
    return this.#has;
  }

  /** Takes an answer of the follower; true: there is more, ask again. */
  take({ base, version, items, more }: Changes<I>): boolean {
    if (base !== this.#has.base) this.#next = this.#make();
    const index = this.#next ?? this.#index!;
    for (const item of items) index.put(item);
    this.#has = { base, since: version };
    if (!more && this.#next !== undefined) {
      this.#index = this.#next;
      this.#next = undefined;
    }
    return more;
  }
}

export interface Feed {
  /** Asks now. Resolves when the copy has what the worker had when this was called, or when the worker is away. */
  look(): Promise<void>;
  close(): void;
}

export interface FeedOptions<I> {
  readonly worker: string;
  /** What the worker is asked: the question, with what it has to know beside it. */
  ask(question: ChangesQuestion): unknown;
  readonly everyMs: number;
  readonly copy: {
    readonly question: ChangesQuestion;
    readonly known: boolean;
    take(changes: Changes<I>): boolean;
  };
}

const ASK_MS_MAX = 5000;
/** At the start, requests that come in the first moment are not refused because nothing is known yet. */
const FIRST_MS_MAX = 3000;
const FIRST_EVERY_MS = 20;

/** Keeps a copy. Resolves when it knows what there is, or after a few seconds without. */
export async function openFeed<I>({ ask }: Pick<AcceptorFrame, 'ask'>, options: FeedOptions<I>): Promise<Feed> {
  const { copy, worker, everyMs } = options;
  const askOnce = async (): Promise<void> => {
    try {
      for (let more = true; more; ) {
        const changes = (await ask(worker, options.ask(copy.question), ASK_MS_MAX, 'reads')) as Changes<I> | undefined;
        more = changes !== undefined && copy.take(changes);
      }
    } catch {
      // The worker is being started again, and its own log says why.
    }
  };
  let asking: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const follow = (): Promise<void> => {
    asking ??= askOnce().finally(() => {
      asking = undefined;
    });
    return asking;
  };
  const look = (): Promise<void> => {
    if (asking === undefined) return follow();
    // What is under way may have been asked too early; all who ask meanwhile share the next one.
    next ??= asking.then(() => {
      next = undefined;
      return follow();
    });
    return next;
  };
  const until = performance.now() + FIRST_MS_MAX;
  while (!copy.known && performance.now() < until) {
    // Before the thread listens, nobody ends a wait for an answer that does not come.
    await Promise.race([follow(), pause(until - performance.now())]);
    if (!copy.known) await pause(FIRST_EVERY_MS);
  }
  const timer = setInterval(() => void follow(), everyMs);
  return { look, close: () => clearInterval(timer) };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());
