/** What all parts of the SMS gateway call a message, its lane and its state. */

/** express: strictly before every normal message, with a promised time. */
export type Lane = 'normal' | 'express';

/**
 * accepted   paid for by reservation, waits for its turn
 * sending    an attempt is recorded; whether the operator has it is not known yet
 * sent       the operator took it: the reservation is captured
 * delivered  the operator says that the handset has it
 * failed     it will not be sent (the reservation is refunded), or the operator could not deliver it
 * unknown    nobody answered whether the operator took it, for UNKNOWN_HOLD_S
 */
export const statuses = ['accepted', 'sending', 'sent', 'delivered', 'failed', 'unknown'] as const;
export type Status = (typeof statuses)[number];

/** Whether the text may be the id of a customer; the table has the same rule. */
export const isCustomerId = (text: string): boolean => /^[A-Za-z0-9._-]{1,64}$/.test(text);

/** What the operator is asked to send. */
export interface OutgoingMessage {
  readonly messageId: string;
  readonly customerId: string;
  /** E.164 with the plus. */
  readonly to: string;
  /** '': the operator's own. */
  readonly sender: string;
  readonly text: string;
  readonly segments: number;
  readonly lane: Lane;
  /** Ms since 1970. */
  readonly validUntilMs: number;
}

/** What normal messages may use of a whole of which `expressShare` (0 to 1) is set aside for express: at least one. */
export const normalPart = (whole: number, expressShare: number): number =>
  // Of 10 and 0.9 floating point leaves a little less than 1.
  Math.max(1, Math.floor(whole * (1 - expressShare) + 1e-6));
