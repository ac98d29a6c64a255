/**
 * Connection room: how many connections an acceptor has, and who may come when there are too many. Up to `max`
 * everybody. Beyond it lies a reserve for those who only look in, so that a probe of a busy server is answered: each
 * address may take one seat of it a second, and as long as it is in use every answer closes its connection. Who comes
 * and finds no seat is closed at once.
 *
 * An address that floods the server with silent connections holds ten seats or so: the addon closes each after 10 s.
 * The probes of another address come in all the same. Probes that share an address with clients do not; ADMIN_ADDR has
 * room of its own for them.
 */
import type { HttpResponse } from 'uWebSockets.js';
import { type Clock, systemClock } from '../kernel/clock.ts';

/** Seats of an acceptor's reserve. */
export const RESERVE_SEATS = 32;
/** Connections of an acceptor on ADMIN_ADDR, which MAX_CONNECTIONS does not count. */
export const ADMIN_CONNECTIONS_MAX = 16;
const SEAT_EVERY_MS = 1000;
/** Addresses that are remembered; then all are forgotten. */
const ADDRESSES_MAX = 4096;

export interface RoomOptions {
  readonly max: number;
  /** Seats beyond `max`. 0: there are none. */
  readonly reserve?: number;
  /** The reserve has come into use, or is empty again. */
  readonly onCrowd?: (crowded: boolean) => void;
}

export class ConnectionRoom {
  readonly #max: number;
  readonly #reserve: number;
  readonly #onCrowd: (crowded: boolean) => void;
  readonly #clock: Clock;
  readonly #seatedMs = new Map<string, number>();
  #open = 0;

  constructor({ max, reserve = 0, onCrowd = () => undefined }: RoomOptions, clock: Clock = systemClock) {
    this.#max = max;
    this.#reserve = reserve;
    this.#onCrowd = onCrowd;
    this.#clock = clock;
  }

  /** Counts a new connection. False: it must be closed at once, which leaves. */
  enter(res: HttpResponse): boolean {
    this.#open += 1;
    if (this.#open <= this.#max) return true;
    if (this.#open > this.#max + this.#reserve || !this.#seat(res)) return false;
    this.#onCrowd(true);
    return true;
  }

  leave(): void {
    this.#open -= 1;
    if (this.#open === this.#max) this.#onCrowd(false);
  }

  #seat(res: HttpResponse): boolean {
    const address = Buffer.from(res.getRemoteAddress()).toString('latin1');
    const now = this.#clock.elapsed();
    const last = this.#seatedMs.get(address);
    if (last !== undefined && now - last < SEAT_EVERY_MS) return false;
    if (this.#seatedMs.size >= ADDRESSES_MAX) this.#seatedMs.clear();
    this.#seatedMs.set(address, now);
    return true;
  }
}
