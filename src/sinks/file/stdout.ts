/** Standard output as the target of the log sink: at least once after a crash. */
import { writeSync } from 'node:fs';
import type { SinkBatch, SinkContext, SinkTarget } from '../../delivery/contract.ts';
import { deliveryErrors } from '../../delivery/errors.ts';
import { block } from '../../kernel/threads/wake.ts';
import { gatherLines } from './lines.ts';

const STDOUT_NAP_MS = 5;

/** Standard output. A pipe may be slow or full, so each write continues where the one before ended. */
export class StdoutTarget implements SinkTarget {
  readonly inFlightMax = 1;
  readonly #name: string;
  readonly #ended: () => boolean;
  #lines = Buffer.alloc(0);

  constructor(context: SinkContext) {
    this.#name = context.name;
    this.#ended = context.ended;
  }

  async write(batch: SinkBatch): Promise<void> {
    if (this.#lines.length < batch.buffer.length) this.#lines = Buffer.allocUnsafeSlow(batch.buffer.length);
    const bytes = gatherLines(batch, this.#lines);
    for (let done = 0; done < bytes; ) {
      try {
        done += writeSync(1, this.#lines, done, bytes - done);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        // The reader of the pipe is slow. To give up in the middle of a line is right only when the process has to end.
        if (this.#ended())
          throw deliveryErrors.SINK_WRITE({ sink: this.#name, reason: 'stdout is blocked and the process has to end' });
        block(STDOUT_NAP_MS);
      }
    }
  }

  async close(): Promise<void> {}
}
