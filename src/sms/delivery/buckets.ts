/** Buckets: one token bucket for each customer of a process, whichever lanes its messages wait in. */
import { Bucket } from './bucket.ts';

interface Shared {
  readonly bucket: Bucket;
  lines: number;
}

export class Buckets {
  readonly #shared = new Map<string, Shared>();

  /** Of a line that begins: the bucket that another lane has, or a new one that was empty at `emptyMs`. */
  join(customerId: string, rate: number, emptyMs: number): Bucket {
    const there = this.#shared.get(customerId);
    if (there !== undefined) {
      there.lines += 1;
      return there.bucket;
    }
    const bucket = new Bucket(rate, emptyMs);
    this.#shared.set(customerId, { bucket, lines: 1 });
    return bucket;
  }

  /** Of a line that ends, whose bucket is full: one that begins later is as good as this one. */
  leave(customerId: string): void {
    const there = this.#shared.get(customerId);
    if (there === undefined) return;
    there.lines -= 1;
    if (there.lines === 0) this.#shared.delete(customerId);
  }
}
