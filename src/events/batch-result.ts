/**
 * Batch result: what became of the body of one request, whichever encoder has read it. The encoder overwrites it with
 * the next call.
 */

/** Why this client may not send an item: codes of the rooms that know who may. */
export type RefusalCode =
  | 'KEY_REQUIRED'
  | 'KEY_INVALID'
  | 'KEY_FORBIDDEN'
  | 'SITE_UNKNOWN'
  | 'SITE_ORIGIN'
  | 'ACCESS_UNKNOWN';

/** Why an item is rejected. */
export type ItemErrorCode = 'INVALID_EVENT' | 'EVENT_TOO_LARGE' | RefusalCode;

/** A rejected item. The answer's `errors` have this shape, so changing it changes the contract. */
export interface ItemError {
  readonly index: number;
  readonly event_id?: string;
  readonly code: ItemErrorCode;
  readonly message: string;
}

export interface BatchResult {
  /** Unless OK, the caller rewinds the draft. OK with accepted = 0 and rejected > 0: nothing is stored either. */
  code: 'OK' | 'INVALID_JSON' | 'INVALID_BODY' | 'BATCH_TOO_LARGE';
  accepted: number;
  rejected: number;
  errors: readonly ItemError[];
  /** Bytes that the records take in the draft. */
  recordBytes: number;
  /**
   * Fields of accepted items whose value was not of their kind: as a set of the encoder's field numbers, and by field
   * in how many items.
   */
  mendedSet: number;
  readonly mended: Int32Array;
  /** INVALID_JSON: the byte of the body where the error lies, and what was expected there. */
  offset: number;
  reason: string;
  /** INVALID_BODY: what the body is instead of an object or an array. */
  found: string;
}
