/**
 * A producer that is not ours and writes into the topic whatever comes to its mind: events in the shape of the contract,
 * and between them what is none. A broker that dies may keep what it never answered for, so what counts is what the
 * topic holds in the end.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CountedEvent } from '../../src/analytics/event.ts';
import { client } from '../servers/topics.ts';
import { type Arrived, kcatAll } from '../sinks/kafka/events.ts';
import { randomFrom } from './rollup/events.ts';

const SITE = 'foreigner';
const KEY = 'foreigner:';
const PAUSE_MS = 100;
const DAY_MS = 86_400_000;

/** What the topic holds of it. */
export interface Brought {
  readonly events: readonly Arrived[];
  readonly poison: readonly Arrived[];
}

export class Foreigner {
  readonly #broker: string;
  readonly #random: () => number;
  #ended = false;

  constructor(broker: string, seed: number) {
    this.#broker = broker;
    this.#random = randomFrom(seed ^ 0x0f0e);
  }

  end(): void {
    this.#ended = true;
  }

  /** Writes until end(). What is refused is not written again. */
  async run(): Promise<void> {
    const producer = client(this.#broker).producer({ retry: { retries: 1 } });
    for (let n = 0; !this.#ended; ) {
      const messages = Array.from({ length: 6 }, () => ({ key: `${KEY}${n % 7}`, value: this.#value(n++) }));
      await producer
        .connect()
        .then(() => producer.send({ topic: 'events', messages, timeout: 2000 }))
        .catch(() => {});
      await sleep(PAUSE_MS);
    }
    await producer.disconnect().catch(() => {});
  }

  #value(n: number): string | null {
    const kind = this.#random();
    const timestamp = new Date(Date.UTC(2025, 10, 15) + Math.floor(this.#random() * 3 * DAY_MS)).toISOString();
    const user = this.#random() < 0.5 ? { user_id: `user-${n % 9}` } : {};
    const event = { site_id: SITE, event_type: 'page_view', path: `/${n}`, timestamp, ...user };
    if (kind < 0.1) return null;
    if (kind < 0.2) return `{"site_id":"${SITE}", "n": ${n}`;
    if (kind < 0.3) return JSON.stringify({ ...event, timestamp: 'yesterday' });
    return JSON.stringify(event);
  }

  /** Asked when it has ended and the broker is up. */
  async brought(): Promise<Brought> {
    const all = (await kcatAll(this.#broker, 'events')).filter(({ key }) => key.startsWith(KEY));
    const isEvent = ({ value }: Arrived) => value.endsWith('}') && !value.includes('yesterday');
    return { events: all.filter(isEvent), poison: all.filter((one) => !isEvent(one)) };
  }
}

export const isForeigners = ({ event }: CountedEvent): boolean => event.siteId === SITE;

/** Each of its events is stored once, as it is; each of its other records lies in the dead topic, under its place. */
export async function assertBrought(broker: string, brought: Brought, stored: readonly CountedEvent[]): Promise<void> {
  const line = ({ event }: CountedEvent) =>
    JSON.stringify([event.path, event.userId, new Date(event.timestampMs).toISOString()]);
  const sent = brought.events.map(({ value }) => {
    const { path, user_id: user, timestamp } = JSON.parse(value) as Record<string, string>;
    return JSON.stringify([path, user, timestamp]);
  });
  assert.deepEqual(stored.filter(isForeigners).map(line).sort(), sent.sort());
  const letters = (await kcatAll(broker, 'events.dead')).map(({ key, value, headers }) =>
    JSON.stringify([key, value, headers['partition'], headers['offset']]),
  );
  const poison = brought.poison.map(({ key, value, partition, offset }) =>
    JSON.stringify([key, value, String(partition), String(offset)]),
  );
  // A letter may lie there twice: its batch had not committed when its process was killed.
  assert.deepEqual([...new Set(letters)].sort(), poison.sort());
}
