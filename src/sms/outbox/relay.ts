/**
 * Relay: carries rows of sms_outbox into the log of this process, from where outputs take their records on. Any number
 * of relays share one outbox.
 *
 *   claim     FOR UPDATE SKIP LOCKED, express first, a bounded number of rows, then of bytes. Never "id > last": a row
 *             with a smaller id may be committed later
 *   publish   each record as one of its kind; the lane holds them as ACK promises
 *   delete    and COMMIT. A crash before it repeats the records, and loses none
 *   no room   a full lane leaves the rows where they are. The transaction ends first: one that waits for Kafka would
 *             keep the whole database from tidying up
 */
import { setTimeout as delay } from 'node:timers/promises';
import { commitText } from '../../events/service-record.ts';
import { type Logger, Transitions } from '../../kernel/log.ts';
import type { IntakeLane } from '../../service/intake.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault } from '../../store/postgres/fault.ts';
import { kindOf, readOutbox, type TopicName } from '../topics.ts';

/** Rows of one transaction; a row holds up to 200 records (accept/outbox-rows.ts). */
const ROWS_MAX = 64;
const BYTES_MAX = 2 * 1024 * 1024;
/** Pauses between two looks at an empty outbox: shortly after a row, and later. */
const LOOK_MS = 5;
const IDLE_LOOK_MS = 50;
const BUSY_FOR_MS = 2000;
const RETRY_MS_MIN = 200;
const RETRY_MS_MAX = 5000;
/** A record in a lane takes so much more than its text and its key. */
const RECORD_BYTES = 128;

/** A look, without the transaction of a claim: most looks of a quiet hour find nothing. */
const LOOK = 'SELECT FROM sms_outbox ORDER BY express DESC, id LIMIT 1';
const CLAIM = `SELECT id, topic, octet_length(records) AS bytes FROM sms_outbox
  ORDER BY express DESC, id LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED`;

interface Claimed {
  readonly id: string;
  readonly topic: TopicName;
  readonly bytes: number;
}

export interface RelayDeps {
  readonly open: () => Promise<PostgresLink>;
  readonly lane: IntakeLane;
  /** Publishes what is in the lane's draft; resolves when ACK holds. */
  readonly publish: () => Promise<void>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  /** Records that have left the outbox. */
  published(records: number): void;
  readonly now: () => number;
}

export class Relay {
  readonly #deps: RelayDeps;
  readonly #told: Transitions;

  constructor(deps: RelayDeps) {
    this.#deps = deps;
    this.#told = new Transitions(deps.log);
  }

  /** Works until the signal fires. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let retryMs = RETRY_MS_MIN;
    while (!signal.aborted) {
      let link: PostgresLink | undefined;
      try {
        link = await this.#deps.open();
        this.#told.up('database', 'the relay reads the outbox again');
        retryMs = RETRY_MS_MIN;
        await this.#work(link, signal);
      } catch (error) {
        this.#told.down('database', 'the outbox cannot be read; its rows wait', { reason: describeFault(error) });
        await pause(retryMs, signal);
        retryMs = Math.min(RETRY_MS_MAX, 2 * retryMs);
      } finally {
        await link?.close();
      }
    }
  }

  async #work(link: PostgresLink, signal: AbortSignal): Promise<void> {
    let foundMs = Number.NEGATIVE_INFINITY;
    let fullMs = LOOK_MS;
    while (!signal.aborted) {
      const pass = await this.pass(link);
      if (pass === 'no_room') {
        this.#told.down('room', 'the log takes no records now: the outbox grows until an output catches up');
        await pause(fullMs, signal);
        fullMs = Math.min(1000, 2 * fullMs);
        continue;
      }
      fullMs = LOOK_MS;
      this.#told.up('room', 'the log takes records of the outbox again');
      if (pass === 'moved') foundMs = performance.now();
      else await pause(performance.now() - foundMs < BUSY_FOR_MS ? LOOK_MS : IDLE_LOOK_MS, signal);
    }
  }

  /** One transaction. moved: rows have left. no_room: the lane took nothing. @internal for tests */
  async pass(link: PostgresLink): Promise<'moved' | 'empty' | 'no_room'> {
    if (this.#deps.lane.refusal(0) !== undefined) return 'no_room';
    if ((await link.prepared('sms-look', LOOK, [])).rowCount === 0) return 'empty';
    await link.query('BEGIN');
    try {
      const { rows } = await link.prepared<Claimed>('sms-claim', CLAIM, []);
      if (rows.length === 0) {
        await link.query('ROLLBACK');
        return 'empty';
      }
      const { ids, records } = await this.#publish(link, within(rows));
      if (ids.length === 0) {
        await link.query('ROLLBACK');
        return 'no_room';
      }
      await link.prepared('sms-claimed', 'DELETE FROM sms_outbox WHERE id = ANY ($1::int8[])', [ids]);
      await link.query('COMMIT');
      this.#deps.published(records);
      return 'moved';
    } catch (error) {
      if (link.broken === undefined) await link.query('ROLLBACK');
      throw error;
    }
  }

  /** Publishes whole rows for as long as there is room; the others stay. */
  async #publish(link: PostgresLink, claimed: readonly Claimed[]): Promise<{ ids: string[]; records: number }> {
    const { rows } = await link.prepared<{ id: string; topic: TopicName; records: string }>(
      'sms-records',
      'SELECT id, topic, records FROM sms_outbox WHERE id = ANY ($1::int8[]) ORDER BY express DESC, id',
      [claimed.map(({ id }) => id)],
    );
    const ids: string[] = [];
    let records = 0;
    let drafted = 0;
    for (const row of rows) {
      const texts = readOutbox(row.records);
      let whole = true;
      for (const { key, json } of texts) {
        const bytes = 3 * (json.length + key.length) + RECORD_BYTES;
        if (drafted + bytes > this.#deps.lane.draftBytesMax / 2) {
          await this.#deps.publish();
          drafted = 0;
        }
        if (this.#deps.lane.refusal(bytes) !== undefined) {
          whole = false;
          break;
        }
        commitText(this.#deps.lane, {
          kind: kindOf[row.topic],
          key: Buffer.from(key),
          text: json,
          receivedMs: this.#deps.now(),
        });
        drafted += bytes;
      }
      // Of a row that does not fit, what was published comes again.
      if (!whole) break;
      ids.push(row.id);
      records += texts.length;
    }
    if (drafted > 0) await this.#deps.publish();
    return { ids, records };
  }
}

/** Of the rows, the first ones that are BYTES_MAX together; at least one. */
function within(rows: readonly Claimed[]): readonly Claimed[] {
  let bytes = 0;
  const end = rows.findIndex((row, at) => {
    bytes += row.bytes;
    return at > 0 && bytes > BYTES_MAX;
  });
  return end < 0 ? rows : rows.slice(0, end);
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  delay(ms, undefined, { signal }).catch(() => undefined);
