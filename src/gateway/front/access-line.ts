/** Access line: a line of the log for each request (ACCESS_LOG). */
import type { Logger } from '../../kernel/log.ts';
import type { RequestRecord } from '../record.ts';

export function accessLine(log: Pick<Logger, 'info'>): (record: RequestRecord) => void {
  return ({ requestId, method, target, status, outcome, durationMs, bytesIn, bytesOut, address, ...who }) =>
    log.info(
      {
        requestId,
        method,
        path: target,
        status,
        outcome,
        ms: Math.round(durationMs * 10) / 10,
        bytesIn,
        bytesOut,
        address,
        user: who.userId,
        key: who.keyId,
        backend: who.backendId,
      },
      'request',
    );
}
