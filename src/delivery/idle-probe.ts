/**
 * Idle probe: asks the target while nothing is under way, so that readiness and the log say by themselves when it goes
 * away and when it is back. With a batch under way the batch itself is the question (batch-delivery.ts).
 *   away  asked with the pauses of a retry until it answers
 *   lost  its connection has ended: asked at once, and away when that fails. Servers close connections that are idle;
 *         that is no outage
 *
 * It never holds up the runner: an event that comes meanwhile is delivered beside it. Its answer counts only when the
 * target was not told about in between.
 */
import type { RunnerMeters } from './batch-delivery.ts';
import type { SinkTarget } from './contract.ts';
import type { Standing } from './standing.ts';

export interface IdleProbeDeps {
  readonly standing: Standing;
  readonly target: () => SinkTarget | undefined;
  readonly meters: Pick<RunnerMeters, 'failure'>;
  readonly now: () => number;
}

export class IdleProbe {
  readonly #deps: IdleProbeDeps;
  #asking = false;
  #lost = false;
  #ended = false;
  #attempt = 0;
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(deps: IdleProbeDeps) {
    this.#deps = deps;
  }

  /** The connection has ended between two writes. */
  lost(): void {
    this.#lost = true;
  }

  /** Called in every round of the runner, with nothing under way. */
  look(): void {
    const { standing, target, now } = this.#deps;
    if (!standing.isAway('target')) {
      this.#attempt = 0;
      this.#notBefore = Number.NEGATIVE_INFINITY;
      if (!this.#lost) return;
    }
    const probe = target()?.probe;
    if (probe === undefined || this.#asking || now() < this.#notBefore) return;
    this.#asking = true;
    this.#lost = false;
    const { news } = standing;
    void probe
      .call(target())
      .then(
        () => undefined,
        (error: unknown) => error ?? new Error('the target did not answer'),
      )
      .then((error) => this.#answered(error, news));
  }

  #answered(error: unknown, news: number): void {
    const { standing, meters, now } = this.#deps;
    this.#asking = false;
    if (this.#ended) return;
    if (error !== undefined) {
      meters.failure('connect');
      this.#notBefore = now() + standing.pauseMs(this.#attempt++, error);
    }
    if (standing.news !== news) return;
    if (error === undefined) standing.up();
    else standing.down(error);
  }

  /** The run is over: an answer that is still to come changes nothing. */
  end(): void {
    this.#ended = true;
  }
}
