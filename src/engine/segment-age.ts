/**
 * How long ago segments were last written, for their retention. File times come from the wall clock, and somebody may
 * set it; so this process counts the time itself, from its look after which a file has not changed any more.
 *
 * What earlier processes have left has nothing but its file time. A file time in the future counts as now.
 */
import type { SegmentFile } from './segment-store.ts';

interface Seen {
  readonly ms: number;
  /** When it was last written, by the keeper's clock. */
  readonly sinceMs: number;
}

export class SegmentAges {
  #seen: Map<string, Seen> | undefined;

  /** `nowMs`: a clock that is never set, and told the time when it began. Called again and again, with every file. */
  look(files: readonly SegmentFile[], nowMs: number): void {
    const before = this.#seen;
    this.#seen = new Map(
      files.map(({ path, ms }) => {
        const known = before?.get(path);
        if (known?.ms === ms) return [path, known];
        // A file that is new, or has changed since the last look, was written since then.
        return [path, { ms, sinceMs: before === undefined ? Math.min(ms, nowMs) : nowMs }];
      }),
    );
  }

  of({ path }: SegmentFile, nowMs: number): number {
    return nowMs - (this.#seen?.get(path)?.sinceMs ?? nowMs);
  }
}
