/**
 * Quotas: requests and bytes of a month of UTC. What a user has used is the database's figure, what is on its way there
 * (in the journal), and what is reserved for requests under way; all threads share it.
 */
import type { GatewayUser } from '../model.ts';

export const USAGE_WORKER = 'usage';

export interface Reservation {
  readonly userId: number;
  /** Month that it counts for: months since year 0, UTC. */
  readonly month: number;
}

export interface QuotaRefusal {
  readonly which: 'requests' | 'bytes';
  readonly limit: number;
  readonly used: number;
  /** Ms since 1970: the month's end. */
  readonly resetAtMs: number;
}

export interface Quotas {
  /**
   * Reserves one request, or says which quota is used up. undefined: the user has a quota, and what is used of it is
   * not known yet, because the process has just started.
   */
  reserve(user: GatewayUser): Reservation | QuotaRefusal | undefined;
  /** The request has ended: so many bytes of its answer's body went to the client, and its record is in the journal. */
  settle(reservation: Reservation, bytes: number): void;
  /** The request is not counted: the gateway could not serve it. */
  cancel(reservation: Reservation): void;
}
