/**
 * Stored usage: tells the usage table what the output `logs` moves from the journal to the database. One per session of
 * the output.
 *
 *   begin()    before the statement: from here until the end of the write no other figure of its users is believed
 *   stored()   after the commit: `stored` grows by what this life had counted, and the totals tell what others have
 *              used
 *   failed()   the try has failed. Whether it has committed is unknown when its connection was lost; the next batch of
 *              the lane tells, because it begins where the cursor stands
 */
import type { SinkBatch } from '../../delivery/contract.ts';
import { type LaneId, laneKey } from '../../engine/segment.ts';
import { UsageTable } from './usage-table.ts';

/** Requests and bytes of a user in a month (months since year 0, UTC). */
export interface UsageFigures {
  readonly userId: number;
  readonly month: number;
  readonly requests: number;
  readonly bytes: number;
}

type Batch = Pick<SinkBatch, 'lane' | 'from' | 'to'>;

interface Write {
  readonly lane: string;
  readonly to: number;
  /** The records are of this life, so this process has counted them. */
  readonly own: boolean;
  readonly deltas: readonly UsageFigures[];
}

export class StoredUsage {
  readonly #table: UsageTable;
  readonly #life: Omit<LaneId, 'lane'> | undefined;
  #open: Write | undefined;
  /** Of each lane: a write of which nobody knows whether it was committed. */
  readonly #uncertain = new Map<string, Write>();

  constructor(shared: SharedArrayBuffer, life: Omit<LaneId, 'lane'> | undefined) {
    this.#table = new UsageTable(shared);
    this.#life = life;
  }

  begin({ lane, from, to }: Batch, deltas: readonly UsageFigures[]): void {
    const key = laneKey(lane);
    const before = this.#uncertain.get(key);
    if (before !== undefined) {
      this.#uncertain.delete(key);
      this.#end(before, from.position >= before.to);
    }
    const own = this.#life !== undefined && lane.life === this.#life.life && lane.lifeId === this.#life.lifeId;
    this.#open = { lane: key, to: to.position, own, deltas };
    for (const { userId } of deltas) {
      const slot = this.#table.slot(userId);
      if (slot !== undefined) this.#table.beginWrite(slot);
    }
  }

  /** The write has committed. `totals`: what the database holds now of each of its users and months. */
  stored(totals: readonly UsageFigures[]): void {
    const write = this.#open;
    if (write === undefined) return;
    this.#open = undefined;
    this.#end(write, true, totals);
  }

  failed(): void {
    const write = this.#open;
    if (write === undefined) return;
    this.#open = undefined;
    this.#uncertain.set(write.lane, write);
  }

  #end({ own, deltas }: Write, committed: boolean, totals: readonly UsageFigures[] = []): void {
    const table = this.#table;
    if (committed && own) {
      for (const { userId, month, requests, bytes } of deltas) {
        const slot = table.slot(userId);
        const bank = slot === undefined ? undefined : table.bank(slot, month);
        if (bank === undefined) continue;
        table.add(bank, 'storedRequests', requests);
        table.add(bank, 'storedBytes', bytes);
      }
    }
    for (const total of totals) takeTotal(table, total);
    for (const { userId } of deltas) {
      const slot = table.slot(userId);
      if (slot !== undefined) table.endWrite(slot);
    }
  }
}

/** Takes what the database holds of a user, of which `stored` is this life's own part. */
export function takeTotal(table: UsageTable, { userId, month, requests, bytes }: UsageFigures): void {
  const slot = table.slot(userId);
  const bank = slot === undefined ? undefined : table.bank(slot, month);
  if (bank === undefined) return;
  table.raise(bank, 'otherRequests', requests - table.get(bank, 'storedRequests'));
  table.raise(bank, 'otherBytes', bytes - table.get(bank, 'storedBytes'));
}
