/**
 * Attendance: what the runner does for a source whose strands come and go. Between two batches it gives back what is
 * called back, starts what has arrived, and tells when no records can come.
 */
import type { Mark } from '../engine/checkpoint.ts';
import type { SinkTarget } from './contract.ts';
import type { Membership, Strand } from './source.ts';
import type { Standing } from './standing.ts';

export interface AttendanceDeps {
  readonly membership: Membership;
  readonly standing: Standing;
  readonly target: () => SinkTarget;
  readonly strands: () => readonly Strand[];
  /** Resolves when no batch is under way and the progress of the strands is stored, as far as it can be. */
  readonly settle: () => Promise<void>;
  /** The batch that a strand was filling is free again. */
  readonly free: (strand: Strand) => void;
  /** Strands have begun. */
  readonly begun: () => void;
  /** The target could not be asked where the strands that have arrived begin. */
  readonly failed: () => void;
}

export class Attendance {
  readonly #deps: AttendanceDeps;
  /** The source's problem, as it was told last. */
  #problem: Error | undefined;

  constructor(deps: AttendanceDeps) {
    this.#deps = deps;
  }

  /** False: the run has to end. */
  async look(): Promise<boolean> {
    const { membership, standing, strands, settle, free } = this.#deps;
    if (membership.recalling) {
      for (const strand of strands()) free(strand);
      await settle();
      membership.released();
    }
    if (membership.arrived.length > 0 && !(await this.#start())) return false;
    const { problem } = membership;
    if (problem !== this.#problem) {
      this.#problem = problem;
      if (problem === undefined) standing.up('source');
      else standing.down(problem, 'source');
    }
    return true;
  }

  async #start(): Promise<boolean> {
    const { membership, standing, target, begun, failed } = this.#deps;
    const { arrived } = membership;
    const waiting = () => membership.arrived === arrived;
    for (let attempt = 0; waiting(); attempt++) {
      try {
        const cursors = (await target().cursors?.(arrived)) ?? new Map<string, Mark>();
        if (!waiting()) break;
        membership.begin(cursors);
        begun();
        if (attempt > 0) standing.up();
        break;
      } catch (error) {
        failed();
        standing.down(error);
        if (!(await standing.backOff(attempt, error, () => !waiting()))) return false;
      }
    }
    return true;
  }
}
