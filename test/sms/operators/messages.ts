/** Messages for tests of operators. */
import type { OutgoingMessage } from '../../../src/sms/model.ts';

export const never: AbortSignal = new AbortController().signal;

export const message = (messageId: string, more: Partial<OutgoingMessage> = {}): OutgoingMessage => ({
  messageId,
  customerId: 'shop',
  to: '+989121234567',
  sender: '',
  text: 'hello',
  segments: 1,
  lane: 'normal',
  validUntilMs: Date.now() + 3_600_000,
  ...more,
});
