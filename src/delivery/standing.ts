/**
 * Standing: tells how an output is doing: its state and ledger on the board (for /readyz and /metrics), one log line
 * when its target or its source goes away and one when it returns. It also makes the pauses between tries.
 *
 * The output is up when neither of the two is away. Every reason names where it happened (kernel/place.ts).
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Ledger } from '../engine/checkpoint.ts';
import type { SinkBoard } from '../engine/sink-board.ts';
import { type Logger, Transitions } from '../kernel/log.ts';
import { reasonAt } from '../kernel/place.ts';
import type { ErrorClass, SinkKind } from './contract.ts';
import { Pace } from './pace.ts';
import type { Waiter } from './waiter.ts';

const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 30_000;
/** A pause is cut into pieces of this length, so that the end of the run need not wait for it. */
const LOOK_MS = 250;

export interface StandingDeps {
  /** Name of the output. */
  readonly name: string;
  readonly kind: Pick<SinkKind<never>, 'waits'>;
  readonly classify: (error: unknown) => ErrorClass;
  /** Whether an error is of the source, or of another server that names itself, and not of the target. */
  readonly foreign?: (error: unknown) => boolean;
  readonly board: SinkBoard;
  readonly index: number;
  readonly waiter: Pick<Waiter, 'pause'>;
  readonly log: Logger;
  /** Where the target is; reasons name it. */
  readonly places?: readonly string[];
  /** Drain goes on through outages. */
  readonly patient?: boolean;
  readonly random?: () => number;
}

export interface Report {
  readonly lag: { readonly records: number; readonly bytes: number };
  /** What there is in all, as other threads see it. */
  readonly published: { readonly records: number; readonly bytes: number };
  readonly ledger: Ledger;
  /** Time of the oldest undelivered frame that is known; 0: none. */
  readonly oldestMs: number;
}

/** What an output depends on; `source` only where its strands come and go (a topic). */
type Part = 'target' | 'source';

const words: Readonly<Record<Part, { readonly up: string; readonly down: string }>> = {
  target: { up: 'accepts events', down: 'accepts no events' },
  source: { up: 'receives records', down: 'receives no records' },
};

interface Away {
  readonly state: 'down' | 'stopped';
  readonly reason: string;
}

export class Standing {
  readonly #deps: StandingDeps;
  readonly #now: () => number;
  readonly transitions: Transitions;
  readonly #pace = new Pace();
  readonly #away = new Map<Part, Away>();
  /** Called while a pause lasts, so that the figures on the board stay fresh. */
  readonly #report: () => Report;

  constructor(deps: StandingDeps, now: () => number, report: () => Report) {
    this.#deps = deps;
    this.#now = now;
    this.#report = report;
    this.transitions = new Transitions(deps.log);
  }

  /** Grows whenever the target is told to be away, or to be back: what was asked before is old news then. */
  news = 0;

  up(part: Part = 'target'): void {
    const { name } = this.#deps;
    if (this.#away.delete(part) && part === 'target') this.news += 1;
    this.#tellState();
    this.transitions.up(part, `${name} ${words[part].up}`);
  }

  down(error: unknown, part: Part = 'target'): void {
    const { board, index, name, places = [], foreign } = this.#deps;
    const stopped = this.#deps.classify(error) === 'stop';
    // The source names its brokers itself.
    const reason = reasonAt(error, part === 'source' || foreign?.(error) ? [] : places);
    this.#away.set(part, { state: stopped ? 'stopped' : 'down', reason });
    if (part === 'target') this.news += 1;
    this.#tellState();
    board.set(index, 'retries', board.get(index, 'retries') + 1);
    this.transitions.down(part, `${name} ${words[part].down}; ${stopped ? 'needs an operator' : 'retrying'}`, {
      reason,
    });
  }

  isAway(part: Part): boolean {
    return this.#away.has(part);
  }

  #tellState(): void {
    const { board, index } = this.#deps;
    const [away] = this.#away.values();
    if (away !== undefined) board.setState(index, away.state, away.reason);
    else if (board.state(index) !== 'up') board.setState(index, 'up');
  }

  /** Ms until the next try, by how many have failed. */
  pauseMs(attempt: number, error: unknown): number {
    const stopped = this.#deps.classify(error) === 'stop';
    const most = stopped ? BACKOFF_MS_MAX : Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(attempt, 20));
    return most * (0.5 + (this.#deps.random ?? Math.random)() / 2);
  }

  /** Waits before the next try, no longer than until `given up` is true. False: the run has to end. */
  async backOff(attempt: number, error: unknown, givenUp: () => boolean = () => false): Promise<boolean> {
    const until = this.#now() + this.pauseMs(attempt, error);
    for (;;) {
      const phase = this.#deps.board.phase(this.#deps.index);
      // A target that is away does not hold up the end of the process: the journal keeps what it owes.
      if (phase === 'stop' || (phase === 'drain' && !this.#deps.patient)) return false;
      this.tell();
      const left = until - this.#now();
      if (left <= 0 || givenUp()) return true;
      await this.#deps.waiter.pause(Math.min(left, LOOK_MS));
      if (this.#deps.kind.waits === 'blocking') await turn();
    }
  }

  /** Puts the figures on the board. */
  tell(): void {
    const { board, index } = this.#deps;
    const { lag, published, ledger, oldestMs } = this.#report();
    if (!board.told(index)) {
      board.set(index, 'deadBefore', ledger.dead);
      board.set(index, 'givenUpBefore', ledger.givenUp);
    }
    board.set(index, 'passed', ledger.passed);
    board.set(index, 'delivered', ledger.delivered);
    board.set(index, 'dead', ledger.dead);
    board.set(index, 'givenUp', ledger.givenUp);
    board.set(index, 'skipped', ledger.skipped ?? 0);
    board.set(index, 'lagRecords', lag.records);
    board.set(index, 'lagBytes', lag.bytes);
    board.set(index, 'oldestMs', oldestMs);
    board.set(index, 'seenRecords', published.records);
    board.set(index, 'seenBytes', published.bytes);
    board.tell(index);
    this.transitions.look();
    this.#tellPace(lag.records, ledger.passed);
  }

  #tellPace(lagEvents: number, passed: number): void {
    const { board, index, name } = this.#deps;
    const found = this.#pace.observe(this.#now(), board.state(index) === 'up', lagEvents, passed);
    if (found === 'keeps up') this.transitions.up('pace', `${name} keeps up with the intake`);
    else if (found !== undefined)
      this.transitions.down('pace', `intake has exceeded the throughput of ${name} for a minute`, { ...found });
  }
}
