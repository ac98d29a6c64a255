/** Call: one call to an operator, bounded in time whatever its driver does. */
import type { OutgoingMessage } from '../model.ts';
import type { Operator, SendResult } from '../operators/contract.ts';
import type { Queued } from './queued.ts';

export interface CallLimits {
  /** Fires when the process can wait no longer. */
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/**
 * Never rejects. `proven`: an answer that came after the time was over still says that the operator has the message,
 * and the operator's name of it.
 */
export async function callOperator(
  operator: Operator,
  message: OutgoingMessage,
  { signal, timeoutMs }: CallLimits,
  proven: (id: string) => void,
): Promise<SendResult> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<SendResult>((resolve) => {
    timer = setTimeout(() => resolve({ kind: 'unknown', reason: 'no answer within CALL_TIMEOUT_MS' }), timeoutMs);
  });
  // A driver never rejects; one that does may have sent.
  const call = operator
    .send(message, signal)
    .catch(
      (error: unknown): SendResult => ({ kind: 'unknown', reason: `the driver failed: ${(error as Error).message}` }),
    );
  const first = await Promise.race([call, late]);
  clearTimeout(timer);
  void call.then((result) => result !== first && result.kind === 'taken' && proven(result.id));
  return first;
}

/** What the operator gets: what the queue knows of the message, and what the attempt has read. */
export const outgoing = (message: Queued, sender: string, text: string): OutgoingMessage => ({
  messageId: message.messageId,
  customerId: message.customerId,
  to: message.to,
  sender,
  text,
  segments: message.segments,
  lane: message.lane,
  validUntilMs: message.validMs,
});
