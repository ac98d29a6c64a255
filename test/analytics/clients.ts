/**
 * Clients that lose nothing: they send random events until each is answered with 2xx, with the same event_id, and keep a
 * ledger of what was taken. The seed decides what is sent; answers decide in which order.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { hexOf, randomFrom } from './rollup/events.ts';

export interface SentEvent {
  readonly event_id: string;
  readonly site_id: string;
  readonly event_type: string;
  readonly path?: string;
  readonly user_id?: string;
  readonly timestamp?: string;
  readonly referrer?: string;
  readonly utm_source?: string;
  readonly props?: Readonly<Record<string, string | number | boolean>>;
}

/** Texts that SQL, COPY, JSON and varchar take ill when somebody has put them together by hand. */
export const nasty = [
  "'); DROP TABLE events; --",
  '\\N\t\\.\r\n"\\u0041 \\x00 $1 %s {}',
  '\u{10ffff}\u{1f600}\u0001\u007f\u2028\ufeff',
  '{"a":[1]}, "site_id":"other',
] as const;

export const siteIds = ['kathmandu', 'berlin', "st-john's", '\u{1f3d4}'.repeat(100)] as const;

const MINUTE_MS = 60_000;
/** Borders of days and months in UTC and elsewhere, and days whose clocks change: events come within an hour of them. */
const borders = [
  '2025-01-31T18:15:00Z', // midnight in Asia/Kathmandu
  '2025-02-01T00:00:00Z',
  '2025-02-28T18:15:00Z',
  '2025-03-09T05:30:00Z', // America/St_Johns: 02:00 does not exist
  '2025-03-30T01:00:00Z', // Europe/Berlin: 02:00 does not exist
  '2025-03-29T23:00:00Z',
  '2025-03-30T22:00:00Z',
  '2025-10-26T01:00:00Z', // Europe/Berlin: 02:00 comes twice
  '2025-10-26T23:00:00Z',
  '2025-11-02T04:30:00Z', // America/St_Johns: 01:00 comes twice
  '2025-11-03T03:30:00Z',
  '2025-12-31T23:59:59.999Z',
].map((text) => Date.parse(text));

const agents = [
  'Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
];

export interface ClientsOptions {
  readonly seed: number;
  /** Where to send to; asked before each request, as processes come and go. */
  readonly urls: () => readonly string[];
  /** Requests under way at a time. */
  readonly width?: number;
  /** Between two requests, on average. */
  readonly pauseMs?: number;
}

export class Clients {
  /** What was taken, by id: every event that was sent under it. */
  readonly taken = new Map<string, SentEvent[]>();
  /** Events that 2xx was given for. */
  accepted = 0;
  /** Requests without an answer or with another one. */
  refused = 0;
  /** Answers that must not come, whatever dies. */
  readonly wrong: string[] = [];
  readonly #options: ClientsOptions;
  readonly #random: () => number;
  #made = 0;
  #ended = false;

  constructor(options: ClientsOptions) {
    this.#options = options;
    this.#random = randomFrom(options.seed);
  }

  /** Sends until end() is called, and then what is left. */
  async run(): Promise<void> {
    const { width = 4, pauseMs = 150 } = this.#options;
    await Promise.all(
      Array.from({ length: width }, async () => {
        while (!this.#ended) {
          const count = this.#random() < 0.3 ? 1 : 1 + this.#upTo(40);
          const batch = Array.from({ length: count }, () => this.#event());
          await this.#deliver(batch, this.#pick(agents));
          await sleep(this.#upTo(2 * pauseMs));
        }
      }),
    );
  }

  end(): void {
    this.#ended = true;
  }

  async #deliver(batch: readonly SentEvent[], agent: string): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      if (await this.#send(batch, agent)) return;
      this.refused += 1;
      await sleep(Math.min(500, 20 * (tries + 1)));
    }
  }

  async #send(batch: readonly SentEvent[], agent: string): Promise<boolean> {
    const body = batch.length === 1 ? batch[0] : batch;
    let answer: Response;
    let text: string;
    try {
      answer = await fetch(`${this.#pick(this.#options.urls())}/events`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': agent },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(5000),
      });
      text = await answer.text();
    } catch {
      return false;
    }
    if (answer.status === 429 || answer.status === 503) return false;
    const expected =
      batch.length === 1 ? { message: 'Event accepted' } : { message: 'Events accepted', accepted: batch.length };
    if (answer.status !== 202 || text !== JSON.stringify(expected)) {
      this.wrong.push(`${answer.status} ${text.slice(0, 500)}`);
      return true;
    }
    this.accepted += batch.length;
    for (const event of batch) {
      const variants = this.taken.get(event.event_id);
      if (variants === undefined) this.taken.set(event.event_id, [event]);
      else variants.push(event);
    }
    return true;
  }

  #event(): SentEvent {
    // A seventh has an id that came before, maybe in this very batch, with whatever else.
    const again = this.#made > 0 && this.#random() < 0.15;
    const number = again ? this.#made - 1 - this.#upTo(Math.min(this.#made, 2000)) : this.#made++;
    const hex = hexOf(`${this.#options.seed}/${number}`);
    const id = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
    const now = Date.now();
    const kind = this.#random();
    const ms =
      kind < 0.3
        ? undefined
        : kind < 0.45
          ? now - this.#upTo(36 * 60) * MINUTE_MS
          : this.#pick(borders) + (this.#upTo(4 * 60) - 120) * 30_000 + (this.#random() < 0.3 ? -1 : 0);
    return {
      event_id: this.#random() < 0.1 ? id.toUpperCase() : id,
      site_id: this.#pick(siteIds),
      event_type: this.#pick(['page_view', 'page_view', 'page_view', 'signup', 'pageview']),
      ...(this.#random() < 0.9 && { path: this.#random() < 0.9 ? `/page-${this.#upTo(12)}` : this.#pick(nasty) }),
      ...(this.#random() < 0.6 && { user_id: this.#random() < 0.9 ? `user-${this.#upTo(25)}` : this.#pick(nasty) }),
      ...(ms !== undefined && { timestamp: new Date(ms).toISOString() }),
      ...(this.#random() < 0.2 && { referrer: this.#pick(['https://news.example/a', ...nasty]) }),
      ...(this.#random() < 0.1 && { utm_source: this.#pick(['letter', ...nasty]) }),
      ...(this.#random() < 0.2 && { props: { plan: this.#pick(['free', ...nasty]), seats: this.#upTo(3), on: true } }),
    };
  }

  #upTo(max: number): number {
    return Math.floor(this.#random() * max);
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#upTo(items.length)]!;
  }
}
