/** Raw copy: rows of `events` as a binary COPY. */
import { CopyWriter } from '../../store/postgres/copy-writer.ts';
import { agentKeys, type CountedEvent, placeKeys, utmKeys } from '../event.ts';

const columns = [
  'site_id',
  'event_type',
  'path',
  'user_id',
  '"timestamp"',
  'event_id',
  'received_at',
  'site',
  'visitor',
  'url',
  'referrer',
  'source',
  'title',
  'props',
  ...utmKeys,
  ...placeKeys,
  ...agentKeys,
  'bot',
] as const;

export const COPY_EVENTS = `COPY events (${columns.join(', ')}) FROM STDIN (FORMAT binary)`;

/** begin()  add() ...  [leaveOut()]  add() ...  end()  >  COPY  >  done() | abandon() */
export class RowEncoder {
  readonly #copy = new CopyWriter();
  /** Where the row of each event begins. */
  readonly #begins: number[] = [];

  begin(): void {
    this.#copy.begin();
    this.#begins.length = 0;
  }

  add(event: CountedEvent): void {
    this.#begins.push(this.#copy.length);
    this.#row(event);
  }

  /** Takes rows back, by their number in the order of add(). Later rows move up, so it is called once at most. */
  leaveOut(numbers: ReadonlySet<number>): void {
    const begins = [...this.#begins, this.#copy.length];
    const ascending = [...numbers].sort((a, b) => a - b);
    this.#copy.cut(ascending.map((number) => [begins[number]!, begins[number + 1]!]));
  }

  /** The events as a binary COPY. Valid until done(). */
  end(): Buffer {
    return this.#copy.end();
  }

  /** The server has everything, or has been sent nothing. */
  done(): void {
    this.#copy.done();
  }

  /** The socket may still read what rows() gave. */
  abandon(): void {
    this.#copy.abandon();
  }

  #row({ event, site, visitor, source }: CountedEvent): void {
    const copy = this.#copy;
    copy.row(columns.length);
    copy.text(event.siteId);
    copy.text(event.eventType);
    copy.text(event.path);
    copy.text(event.userId);
    copy.instant(event.timestampMs);
    copy.uuid(event.eventId);
    copy.instant(event.receivedMs);
    copy.int4(site);
    copy.uuid(visitor);
    copy.text(event.url);
    copy.text(event.referrer);
    copy.text(source);
    copy.text(event.title);
    copy.json(event.props);
    for (const key of utmKeys) copy.text(event[key]);
    for (const key of placeKeys) copy.text(event[key]);
    for (const key of agentKeys) copy.text(event[key]);
    copy.text(event.bot);
  }
}
