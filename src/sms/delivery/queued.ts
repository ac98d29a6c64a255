/** Queued: a message that waits for its turn, as a worker holds it. Its content stays in sms_logs until it goes. */
import type { Lane } from '../model.ts';

export interface Queued {
  readonly messageId: string;
  readonly customerId: string;
  readonly shard: number;
  readonly lane: Lane;
  /** E.164 with the plus. */
  readonly to: string;
  readonly segments: number;
  /** Ms since 1970. */
  readonly acceptedMs: number;
  readonly validMs: number;
  /** Tries that count against MAX_RETRIES. */
  readonly retries: number;
  /** Operators that would not take it in this round. */
  readonly tried: readonly string[];
}
