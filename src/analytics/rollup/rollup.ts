/**
 * Rollups: counts the fresh events of a batch into the tables, inside the transaction that stores them.
 *
 *   lock the sites | read days, states, known values | count | read days around and sketches | write
 *
 * Under the lock everything is read, changed in memory and written once. The tables then are a function of the set of
 * events, in whatever order and batches they came. Two things depend on the order: which values a full day has no place
 * for (guard.ts), and sketches, which keep a visitor under a value that a late event has taken from the visit.
 *
 * Isolation must be READ COMMITTED: each statement sees what was committed before the lock was got.
 */
import type { Transaction } from '../../sinks/postgres/transaction.ts';
import type { CountedEvent } from '../event.ts';
import { Batch, type DayBatch, type RollupOptions } from './batch.ts';
import { type Cell, sorted } from './cells.ts';
import { Drafts } from './drafts.ts';
import { GAP_DAYS } from './gaps.ts';
import { Guard } from './guard.ts';
import { withEntries } from './sketch.ts';
import * as tables from './tables.ts';
import { ValueCache } from './values.ts';
import { decodeDay, decodeSlots, HEAD_BYTES } from './visitor-day-bytes.ts';

/** Events that apply() counts. Needs nothing of the database until then, and keeps no event. */
export interface Prepared {
  /** Takes an event that was never counted before. */
  add(event: CountedEvent): void;
  /** Takes events back, by their number in the order of add(). `read` gives an event once more. */
  leaveOut(numbers: ReadonlySet<number>, read: (number: number) => CountedEvent): void;
  /** Counts, once. Memory changes when the commit is done. */
  apply(transaction: Transaction): Promise<void>;
}

/** Values that are remembered: about 300 bytes each. */
const VALUES_CACHED = 100_000;

export class Rollups {
  readonly #options: RollupOptions;
  readonly #values = new ValueCache(VALUES_CACHED);
  /** Of batches that are counted: as many as there are batches at a time. */
  readonly #drafts: Drafts[] = [];

  constructor(options: RollupOptions) {
    this.#options = options;
  }

  /** Forgets what is known to be committed. Called when a session is opened: after a failover it may be gone. */
  forget(): void {
    this.#values.clear();
  }

  /** Begins a batch. What is known of the database while it is filled stays true: only commits make it more. */
  prepare(): Prepared {
    const batch = new Batch(this.#options, this.#values, this.#drafts.pop() ?? new Drafts());
    return {
      add: (event) => batch.add(event),
      leaveOut: (numbers, read) => batch.leaveOut(numbers, read),
      apply: (transaction) => (batch.sites.size === 0 ? Promise.resolve() : this.#apply(transaction, batch)),
    };
  }

  async #apply(transaction: Transaction, batch: Batch): Promise<void> {
    await tables.lockSites(transaction, [...batch.sites.keys()]);
    await this.#read(transaction, batch);
    this.#keep(batch.count());
    await this.#readAround(transaction, batch);
    // The server writes states while gaps and cells are counted.
    const written = tables.writeStates(transaction, tables.statesOf(batch.people(), batch.ids));
    written.catch(() => {}); // it may fail before anybody waits for it
    batch.countGaps();
    batch.forgetPeople();
    const sites = [...batch.sites.values()];
    for (const { cells } of sites) cells.fold();
    const rows = sorted(
      sites.map(({ cells }) => cells),
      batch.ids,
    );
    await written;

    await tables.readSketches(
      transaction,
      rows.filter(({ entries }) => entries !== undefined),
      batch.ids,
      (cell, sketch) => {
        cell.stored = sketch;
      },
    );
    await tables.writeRollups(transaction, rows, batch.ids, changedOf);
    const stored = [...batch.guard.used];
    await tables.writeValues(transaction, stored);
    await tables.writeGaps(
      transaction,
      sites.toSorted((a, b) => a.site - b.site).flatMap(({ gaps }) => gaps.rows()),
    );
    const days: DayBatch[] = batch.days();
    await tables.writeDays(transaction, days);
    transaction.onCommit(() => Guard.committed(days, stored));
  }

  #keep(drafts: Drafts): void {
    drafts.clear();
    if (drafts.areWorthKeeping) this.#drafts.push(drafts);
  }

  async #read(transaction: Transaction, batch: Batch): Promise<void> {
    await tables.readDays(transaction, batch.daysAround(GAP_DAYS), ({ site, day }, counts, properties) => {
      batch.sites.get(site)!.existing.add(day);
      batch.sites.get(site)!.days.get(day)?.setCounts(counts, properties);
    });
    await tables.readStates(transaction, batch.people(), undefined, (person, state) => {
      person.before = decodeDay(state, batch.ids);
    });
    await batch.guard.load(transaction);
  }

  /** Reads the slots of signed-in visitors on the days around. */
  async #readAround(transaction: Transaction, batch: Batch): Promise<void> {
    await tables.readStates(transaction, batch.neighbours(), HEAD_BYTES, ({ user, day }, head) => {
      const [any, views] = decodeSlots(head);
      user.around.set(day, { any, views });
    });
  }
}

/** The rows that have changed, with their sketches. */
function changedOf(rows: readonly Cell[]): readonly Cell[] {
  return rows.filter((cell) => {
    if (cell.entries !== undefined) {
      const sketch = withEntries(cell.stored, cell.entries);
      if (sketch !== cell.stored) cell.sketch = sketch;
    }
    return cell.changed;
  });
}
