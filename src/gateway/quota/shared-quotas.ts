/** Quotas in shared memory (usage-table.ts), of an acceptor. Months are those of UTC by the wall clock. */
import type { GatewayUser } from '../model.ts';
import type { QuotaRefusal, Quotas, Reservation } from './quotas.ts';
import { monthBegin, monthOf, UsageTable } from './usage-table.ts';

/** Of a user in a month, as far as this process knows. */
export interface Used {
  readonly requests: number;
  readonly bytes: number;
}

export class SharedQuotas implements Quotas {
  readonly #table: UsageTable;
  readonly #now: () => number;
  #month = 0;
  #monthEndMs = 0;
  #monthBeginMs = 0;

  constructor(shared: SharedArrayBuffer, now: () => number) {
    this.#table = new UsageTable(shared);
    this.#now = now;
  }

  reserve({ id: userId, quota }: GatewayUser): Reservation | QuotaRefusal | undefined {
    const month = this.#monthNow();
    const { monthlyRequests = Number.POSITIVE_INFINITY, monthlyBytes } = quota;
    const limited = monthlyRequests !== Number.POSITIVE_INFINITY || monthlyBytes !== undefined;
    const table = this.#table;
    if (limited && !table.known) return undefined;
    const bank = this.#bank(userId, month);
    if (bank === undefined) return limited ? undefined : { userId, month };
    if (monthlyBytes !== undefined) {
      const used = table.get(bank, 'ownBytes') + table.get(bank, 'otherBytes');
      if (used >= monthlyBytes) return this.#refusal('bytes', monthlyBytes, used);
    }
    const others = table.get(bank, 'otherRequests');
    if (table.addBelow(bank, 'ownRequests', monthlyRequests - others)) return { userId, month };
    return this.#refusal('requests', monthlyRequests, table.get(bank, 'ownRequests') + others);
  }

  settle({ userId, month }: Reservation, bytes: number): void {
    const bank = this.#bank(userId, month);
    if (bank !== undefined && bytes > 0) this.#table.add(bank, 'ownBytes', bytes);
  }

  cancel({ userId, month }: Reservation): void {
    const bank = this.#bank(userId, month);
    if (bank !== undefined) this.#table.add(bank, 'ownRequests', -1);
  }

  /** With requests under way. undefined: it is not known now, or that month is over for long. */
  used(userId: number, month: number): Used | undefined {
    const table = this.#table;
    if (!table.known || month !== this.#monthNow()) return undefined;
    const bank = this.#bank(userId, month);
    if (bank === undefined) return undefined;
    return {
      requests: table.get(bank, 'ownRequests') + table.get(bank, 'otherRequests'),
      bytes: table.get(bank, 'ownBytes') + table.get(bank, 'otherBytes'),
    };
  }

  #bank(userId: number, month: number): number | undefined {
    const slot = this.#table.slot(userId);
    return slot === undefined ? undefined : this.#table.bank(slot, month);
  }

  #refusal(which: 'requests' | 'bytes', limit: number, used: number): QuotaRefusal {
    return { which, limit, used, resetAtMs: this.#monthEndMs };
  }

  #monthNow(): number {
    const now = this.#now();
    if (now >= this.#monthEndMs || now < this.#monthBeginMs) {
      this.#month = monthOf(now);
      this.#monthBeginMs = monthBegin(this.#month);
      this.#monthEndMs = monthBegin(this.#month + 1);
    }
    return this.#month;
  }
}
