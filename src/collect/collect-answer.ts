/**
 * Collect answer: the parts of POST /collect that need no request: which content types are taken, and how a result is
 * told.
 */
import type { CollectResult } from '../events/collect-encoder.ts';
import { eventErrors } from '../events/errors.ts';
import { type Problem, problemOf } from '../kernel/errors.ts';
import { serializeAccepted } from './schemas.generated.ts';

/**
 * application/json in any spelling and with any parameter, nothing at all, or what sendBeacon sends without a
 * preflight.
 */
export function isTakenType(header: string): boolean {
  if (header === '' || header === 'application/json') return true;
  const semicolon = header.indexOf(';');
  const type = (semicolon < 0 ? header : header.slice(0, semicolon)).trim().toLowerCase();
  return type === '' || type === 'application/json' || type === 'text/plain';
}

/** The body of a 202. */
export function acceptedBody({ accepted, rejected, errors }: CollectResult): string {
  return serializeAccepted(rejected === 0 ? { accepted, status: 'ok' } : { accepted, status: 'ok', rejected, errors });
}

/** Why nothing of a body was taken. `undefined`: its records are more than a draft holds (`limit` bytes). */
export function problemOfResult(result: CollectResult | undefined, limit: number): Problem {
  if (result === undefined) return problemOf(eventErrors.BATCH_TOO_LARGE, { bytes: limit + 1, limit });
  const { code, recordBytes, offset, reason, found, rejected, errors } = result;
  switch (code) {
    case 'INVALID_JSON':
      return problemOf(eventErrors[code], { offset, reason });
    case 'INVALID_BODY':
      return problemOf(eventErrors[code], { found });
    case 'BATCH_TOO_LARGE':
      return problemOf(eventErrors[code], { bytes: recordBytes, limit });
    case 'OK': {
      const problem = { ...problemOf(eventErrors.NO_VALID_EVENT, { rejected, first: errors[0]!.message }), errors };
      // Sent again they would be too large again. Clients look for 413 to make their events smaller.
      const large = errors.every((error) => error.code === 'EVENT_TOO_LARGE');
      return large ? { ...problem, status: 413, code: 'EVENT_TOO_LARGE' } : problem;
    }
  }
}
