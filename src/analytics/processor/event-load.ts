/**
 * Event load: what a batch of records changes in the database, in the transaction that moves the cursor.
 *
 *   read      the records, in slices: the batch before goes on between them. Each event is encoded as a row and sorted
 *             for the rollups as if its id were new, for nearly always it is; then it is let go of (read-batch.ts).
 *             Those that are no events go to the dead letters first, and their broker has them before anything commits
 *   dedupe    ids that were counted before are left out (dedupe.ts); a record that came twice is not even in the books
 *   sites     the numbers of sites that were not known; new ones are made
 *   rows      COPY into `events`, whose months are made on demand
 *   turn      the batch before has committed. From here on batches of a strand go one after the other; everything
 *             before overlaps
 *   lock      the sites of the batch, in the order of their numbers: the same for two processes that share a site
 *   rollups   the state of the sites is read, changed and written
 *   books     what became of the records, by site and hour
 *
 * The load holds one batch and nothing of the batches before, but for caches that have bounds. Caches change when the
 * transaction has committed.
 *
 * A record that the database refuses (class row, store/postgres/fault.ts) fails the batch; the runner halves it until
 * the record stands alone. Then it is a dead letter like any other, and its partition goes on.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { type ErrorClass, RecordsRefused, type SinkBatch } from '../../delivery/contract.ts';
import { isForeign } from '../../events/foreign.ts';
import type { Load } from '../../sinks/postgres/load.ts';
import type { Transaction } from '../../sinks/postgres/transaction.ts';
import { describeFault, faultOf } from '../../store/postgres/fault.ts';
import { wasMadeMeanwhile } from '../../store/postgres/time-partitions.ts';
import { dayOf, monthOf } from '../dimensions.ts';
import type { AnalyticsEvent, CountedEvent } from '../event.ts';
import type { Rollups } from '../rollup/rollup.ts';
import { SiteGone } from '../rollup/tables.ts';
import { DeadLetters, type Letters } from './dead-letters.ts';
import { Dedupe, type Known, type Week } from './dedupe.ts';
import { Gathered, type Refused } from './gathered.ts';
import type { Told } from './metrics.ts';
import { type Books, hourOf } from './outcomes.ts';
import { COPY_EVENTS, RowEncoder } from './raw-copy.ts';
import { digestId, type ReadEvent, RecordReader, type Refusal } from './record-line.ts';
import { type Acceptance, noteRefused, type Place, takeRefused } from './refusals.ts';
import { rejections } from './rejections.ts';
import { keptFrom } from './retention.ts';
import { SiteNumbers } from './site-numbers.ts';
import type { Visitors } from './visitors.ts';

export interface EventLoadParts {
  /** Topics that the records may come from, by their index in a record. */
  readonly topics: readonly string[];
  readonly lineBytesMax: number;
  /** How old a foreign event may be, ms; Infinity: any age. */
  readonly ageMsMax: number;
  /** RETENTION_DAYS. */
  readonly retentionDays: number | undefined;
  readonly rollups: Pick<Rollups, 'prepare' | 'forget'>;
  /** Makes the partitions of `events` for these months (dimensions.ts: monthOf) that are missing. */
  ensureMonths(transaction: Transaction, months: readonly number[]): Promise<void>;
  /** Who an event is counted for. */
  readonly visitors: Visitors;
  /** Where a visit with this first event came from. */
  sourceOf(event: AnalyticsEvent): string;
  /** Dead letters of records that came from a topic. */
  readonly letters: Letters;
  readonly told: Told;
  /** Ms since 1970. */
  now(): number;
}

/**
 * Records that are read in one turn of the event loop: some 2 ms. The batch before waits for the server a dozen times,
 * and each answer that comes meanwhile waits for the turn to end.
 */
const SLICE = 100;
const NO_BYTES = Buffer.alloc(0);

/** Where an acceptance of an event that was counted before stands in event_ids. */
const idOfDuplicate = ({ event, receipt }: ReadEvent): string => digestId([event.eventId, receipt], NO_BYTES);

export class EventLoad implements Load {
  readonly #parts: EventLoadParts;
  readonly #reader: RecordReader;
  readonly #dedupe = new Dedupe();
  readonly #sites = new SiteNumbers();
  readonly #encoder = new RowEncoder();
  readonly #letters: DeadLetters;

  constructor(parts: EventLoadParts) {
    this.#parts = parts;
    this.#reader = new RecordReader(parts);
    this.#letters = new DeadLetters(parts);
  }

  /** A session was opened: after a failover, what was committed may be gone. */
  async prepare(): Promise<void> {
    this.#sites.forget();
    this.#dedupe.forget();
    this.#parts.rollups.forget();
  }

  async load(transaction: Transaction, batch: SinkBatch): Promise<void> {
    const readMs = this.#parts.now();
    const found = await this.#young(transaction, batch, readMs, await this.#gather(batch, readMs));
    if (found.refused.length > 0) await this.#bury(transaction, batch, found.refused);
    // Of records that were events when they were read first: what is read is the same each time.
    const read = (record: number) => this.#reader.read(batch.buffer, record, readMs) as ReadEvent;
    if (batch.count > 1) {
      await this.#store(transaction, found, read);
      return;
    }
    try {
      await transaction.attempt(() => this.#store(transaction, found, read));
    } catch (error) {
      if (found.size === 0 || faultOf(error) !== 'row' || wasMadeMeanwhile(error)) throw error;
      this.#encoder.abandon();
      const only = read(batch.offsets[0]!);
      const { siteId, receivedMs } = only.event;
      const refusal: Refusal = { reason: 'refused', siteId, receivedMs, foreign: only.foreign };
      const text = `${rejections.refused}: ${describeFault(error)}`;
      const refused = [{ record: only.record, refusal, text, known: only }];
      await this.#bury(transaction, batch, refused);
      await this.#store(transaction, this.#empty(refused), read);
    }
  }

  /**
   * Stores and counts events of an import, which knows them by ids of its own: intake has not taken them, so they stand
   * in no book. `named`: ids that somebody has given; one of them that was counted in the last weeks is left out.
   * Returns how many were counted.
   */
  async take(
    transaction: Transaction,
    events: readonly AnalyticsEvent[],
    named: ReadonlyMap<string, number>,
  ): Promise<number> {
    const week = await this.#dedupe.week(transaction);
    const known = named.size === 0 ? undefined : await this.#dedupe.take(transaction, named, week);
    const fresh = known === undefined ? events : events.filter(({ eventId }) => !known.has(eventId));
    const found = this.#empty();
    await this.#countAll(
      transaction,
      found,
      fresh.map((event) => ({ event, record: 0, foreign: false, receipt: 0 })),
    );
    await this.#write(transaction, found);
    return fresh.length;
  }

  classify(error: unknown): ErrorClass | undefined {
    if (error instanceof RecordsRefused) return 'split';
    return error instanceof SiteGone || wasMadeMeanwhile(error) ? 'retry' : this.#parts.letters.classify(error);
  }

  abandon(): void {
    this.#encoder.abandon();
  }

  close(): Promise<void> {
    return this.#parts.letters.close();
  }

  #empty(refused: readonly Refused[] = []): Gathered {
    return new Gathered(this.#encoder, this.#parts.rollups.prepare(), refused);
  }

  /** Reads the records. Those that are `tooOld` are refused. */
  async #gather(
    { buffer, offsets, count }: SinkBatch,
    readMs: number,
    tooOld: (event: AnalyticsEvent) => boolean = () => false,
  ): Promise<Gathered> {
    const found = this.#empty();
    for (let i = 0; i < count; i += 1) {
      if (i % SLICE === SLICE - 1) await turn();
      const record = offsets[i]!;
      const read = this.#reader.read(buffer, record, readMs);
      if ('reason' in read) {
        // What lies in a lane was taken, and counted, by a process of ours.
        const refusal = { ...read, foreign: read.foreign && isForeign(buffer, record) };
        const known = this.#reader.idOfRefused(buffer, record, refusal);
        found.refused.push({ record, refusal, text: rejections[read.reason], known });
      } else if (tooOld(read.event)) {
        const { siteId, receivedMs } = read.event;
        const refusal: Refusal = { reason: 'too_old', siteId, receivedMs, foreign: read.foreign };
        found.refused.push({ record, refusal, text: rejections.too_old, known: read });
      } else if (found.take(read)) {
        const site = this.#sites.known(read.event.siteId);
        if (site === undefined) found.strangers.push(read);
        else found.count(read, this.#countedOf(read.event, site));
      }
    }
    return found;
  }

  /**
   * Refuses what is older than its site keeps or has kept events, or of a month that RETENTION_DAYS has dropped: the
   * days of its visitors are deleted (retention.ts), and without them a visitor would count again. What was counted
   * before, when it was younger, is no news: dedupe knows it. A batch that has such events is read again, as it nearly
   * never is.
   */
  async #young(transaction: Transaction, batch: SinkBatch, readMs: number, found: Gathered): Promise<Gathered> {
    const { oldest } = found;
    if (oldest.size === 0) return found;
    const names = new Set(oldest.keys());
    const firstDay = await keptFrom(transaction, names, readMs, this.#parts.retentionDays);
    if ([...oldest].every(([siteId, day]) => day >= firstDay(siteId))) return found;
    const isOld = (event: AnalyticsEvent) => dayOf(event.timestampMs) < firstDay(event.siteId);
    const old = new Set<string>();
    for (let i = 0; i < batch.count; i += 1) {
      const read = this.#reader.read(batch.buffer, batch.offsets[i]!, readMs);
      if ('event' in read && isOld(read.event)) old.add(read.event.eventId);
    }
    const known = await this.#dedupe.find(transaction, [...old]);
    found.release();
    return this.#gather(batch, readMs, (event) => isOld(event) && !known.has(event.eventId));
  }

  /** Dead letters, which their broker has when it returns. */
  async #bury(transaction: Transaction, batch: SinkBatch, refused: readonly Refused[]): Promise<void> {
    const { buffer } = batch;
    const ofLane = refused.filter(({ record }) => !isForeign(buffer, record));
    if (ofLane.length > 0) await this.#refuse(transaction, batch, ofLane);
    await this.#letters.put(transaction, batch, refused);
  }

  /**
   * Records of a lane have no topic: the runner writes their letters, and brings the others again. They are counted
   * before that, in a transaction of its own: they may come again, and count once all the same.
   */
  async #refuse(transaction: Transaction, { offsets, count }: SinkBatch, refused: readonly Refused[]): Promise<never> {
    // What was gathered of the others comes again.
    this.#encoder.done();
    await this.#store(transaction, this.#empty(refused), never);
    await transaction.commit();
    const texts = new Map(refused.map(({ record, text }) => [record, text]));
    const reasons = new Map<number, string>();
    for (let i = 0; i < count; i += 1) {
      const text = texts.get(offsets[i]!);
      if (text !== undefined) reasons.set(i, text);
    }
    throw new RecordsRefused(reasons);
  }

  /** `read` gives an event once more, by its record. */
  async #store(transaction: Transaction, found: Gathered, read: (record: number) => ReadEvent): Promise<void> {
    const { books, claims, later, refused } = found;
    const events = claims.size;
    for (const { known } of refused) if (typeof known === 'string') claims.set(known, 0);
    const week = await this.#dedupe.week(transaction);
    const known = await this.#dedupe.take(transaction, claims, week);
    const again = known.size === 0 ? [] : this.#leaveOut(found, known, read);
    const duplicates = await this.#duplicates(transaction, again, found, known, week);
    for (const { event, foreign } of duplicates) books.count(event.siteId, event.receivedMs, 'duplicates', foreign);
    const rejected = await this.#rejected(transaction, refused, known, week);
    for (const { siteId, receivedMs, foreign } of rejected) books.count(siteId, receivedMs, 'rejected', foreign);
    const strangers = found.strangers.filter(({ event }) => !known.has(event.eventId));
    if (week.refusals) await this.#takeBack(transaction, [...found.counted(read), ...strangers, ...duplicates], books);
    await this.#countAll(transaction, found, strangers);
    const { latenessMs } = found;
    const repeats = events + later.length + refused.length - latenessMs.length - duplicates.length - rejected.length;
    await this.#write(transaction, found);
    await books.write(transaction);
    const { told } = this.#parts;
    transaction.onCommit(() => {
      if (latenessMs.length > 0) told.stored(latenessMs);
      if (duplicates.length > 0) told.duplicates(duplicates.length);
      if (repeats > 0) told.repeats(repeats);
      for (const { reason } of rejected) told.rejected(reason);
    });
  }

  /** Takes events back that were counted before. Returns them, and those of new sites. */
  #leaveOut(found: Gathered, known: Known, read: (record: number) => ReadEvent): readonly ReadEvent[] {
    const left = found.leaveOut(known, read, ({ event }) => this.#countedOf(event, this.#sites.known(event.siteId)!));
    return [...left, ...found.strangers.filter(({ event }) => known.has(event.eventId))];
  }

  /**
   * Events whose id was counted before by another acceptance. Each is remembered under an id of its own, so that its
   * record counts once as well. `again`: events whose id is known.
   */
  async #duplicates(
    transaction: Transaction,
    again: readonly ReadEvent[],
    { claims, later }: Pick<Gathered, 'claims' | 'later'>,
    known: Known,
    week: Week,
  ): Promise<readonly ReadEvent[]> {
    if (again.length === 0 && later.length === 0) return [];
    const found = new Map<string, ReadEvent>();
    const note = (one: ReadEvent, receipts: ReadonlySet<number>) => {
      if (!receipts.has(one.receipt)) found.set(idOfDuplicate(one), one);
    };
    for (const one of again) note(one, known.get(one.event.eventId)!);
    for (const one of later) {
      const { eventId } = one.event;
      note(one, known.get(eventId) ?? new Set([claims.get(eventId)!]));
    }
    const taken = new Map(Array.from(found, ([id, { receipt }]) => [id, receipt]));
    const before = await this.#dedupe.take(transaction, taken, week);
    return Array.from(found, ([id, one]) => (before.has(id) ? [] : [one])).flat();
  }

  /** Refusals that were not counted before. */
  async #rejected(
    transaction: Transaction,
    refused: readonly Refused[],
    before: Known,
    { week }: Week,
  ): Promise<readonly Refusal[]> {
    const rejected: Refusal[] = [];
    const events: (Acceptance & Place & { readonly refusal: Refusal })[] = [];
    const seen = new Set<string>();
    for (const { refusal, known } of refused) {
      if (typeof known !== 'string') {
        const { event, receipt } = known;
        const { siteId, receivedMs } = refusal;
        events.push({ eventId: event.eventId, receipt, siteId, hour: hourOf(receivedMs), refusal });
      } else if (!before.has(known) && !seen.has(known)) {
        seen.add(known);
        rejected.push(refusal);
      }
    }
    for (const { refusal } of await noteRefused(transaction, events, week)) rejected.push(refusal);
    return rejected;
  }

  /** Events that were rejected before are so no longer. */
  async #takeBack(transaction: Transaction, counted: readonly ReadEvent[], books: Books): Promise<void> {
    const acceptances = counted.map(({ event, receipt }) => ({ eventId: event.eventId, receipt }));
    const foreign = new Set(counted.flatMap((one) => (one.foreign ? [idOfDuplicate(one)] : [])));
    for (const { eventId, receipt, siteId, hour } of await takeRefused(transaction, acceptances)) {
      books.add(siteId, hour, 'rejected', foreign.has(digestId([eventId, receipt], NO_BYTES)), -1);
    }
  }

  /** Counts events whose sites were not known. */
  async #countAll(transaction: Transaction, found: Gathered, events: readonly ReadEvent[]): Promise<void> {
    if (events.length === 0) return;
    const names = new Set(events.map(({ event }) => event.siteId));
    const sites = await this.#sites.of(transaction, names);
    for (const one of events) found.count(one, this.#countedOf(one.event, sites.get(one.event.siteId)!));
    found.strangers.length = 0;
  }

  #countedOf(event: AnalyticsEvent, site: number): CountedEvent {
    const { userId } = event;
    const visitor = this.#parts.visitors.of(event);
    return { event, site, visitor, signedIn: userId !== undefined, source: this.#parts.sourceOf(event) };
  }

  async #write(transaction: Transaction, found: Gathered): Promise<void> {
    if (found.latenessMs.length === 0) {
      found.release();
      return;
    }
    const months = new Set(Array.from(found.days(), monthOf));
    await this.#parts.ensureMonths(
      transaction,
      [...months].sort((a, b) => a - b),
    );
    await transaction.copy(COPY_EVENTS, this.#encoder.end());
    this.#encoder.done();
    await transaction.inOrder();
    try {
      await found.rollups.apply(transaction);
    } catch (error) {
      if (error instanceof SiteGone) this.#sites.forget();
      throw error;
    }
  }
}

const never = (): never => {
  throw new Error('there are no events to read');
};
