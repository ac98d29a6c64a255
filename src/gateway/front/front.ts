/** Front: what all exchanges of an acceptor share, and what is counted by route. */

import type { BodyReader } from '../../http/body.ts';
import type { AddressReader } from '../../http/client-address.ts';
import type { Deadlines } from '../../http/deadlines.ts';
import type { RequestIds } from '../../http/request-id.ts';
import type { BackendMeters, RouteMeters } from '../metrics.ts';
import type { Quotas } from '../quota/quotas.ts';
import type { RequestRecord } from '../record.ts';
import type { Books } from './books.ts';
import type { Pulse } from './pulse.ts';

export interface Front {
  readonly now: () => number;
  readonly ids: RequestIds;
  readonly addressOf: AddressReader;
  readonly bodies: BodyReader;
  readonly books: Books;
  readonly quotas: Quotas;
  readonly pulse: Pulse;
  readonly readDeadlines: Deadlines;
  readonly writeDeadlines: Deadlines;
  readonly readTimeoutMs: number;
  readonly writeTimeoutMs: number;
  /** Bytes per second. */
  readonly minRate: number;
  readonly backends: BackendMeters;
  /** ACCESS_LOG. */
  readonly accessLine: ((record: RequestRecord) => void) | undefined;
}

export class FrontRoute {
  readonly front: Front;
  readonly #meters: RouteMeters;

  constructor(front: Front, meters: RouteMeters) {
    this.front = front;
    this.#meters = meters;
  }

  settled(record: RequestRecord, refused: boolean): void {
    const { books, backends, accessLine } = this.front;
    books.write(record);
    this.#meters.count(record.outcome, refused ? undefined : record.durationMs, record.bytesIn, record.bytesOut);
    if (record.backendId !== undefined) backends.count(record.backendId, record.status);
    accessLine?.(record);
  }
}
