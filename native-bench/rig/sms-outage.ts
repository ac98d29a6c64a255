/**
 * An operator that is away, while customers go on sending over HTTP: what they see, and how what waits is delivered when
 * it is back. It refuses connections, as a host without its program does.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PostgresLink } from '../../src/store/postgres/connection.ts';

export interface SmsOutage {
  readonly awayMs: number;
  readonly sent: number;
  /** Answers other than 200. */
  readonly refused: number;
  /** Ms of the answers, ascending: before the operator went, and while it was away. */
  readonly beforeMs: readonly number[];
  readonly whileMs: readonly number[];
  /** Messages that waited when it came back; seconds until all of them had been handed over. */
  readonly waited: number;
  readonly drainS: number;
}

export interface OutageMeans {
  readonly link: PostgresLink;
  /** Where messages are sent to. */
  readonly url: string;
  readonly customers: readonly string[];
  readonly awayMs: number;
  leave(): Promise<void>;
  comeBack(): Promise<void>;
}

/** Sends a second. */
const RATE = 200;
const TICK_MS = 50;
const DRAIN_MS_MAX = 300_000;

/** Sends at RATE for so long, whatever the answers take; their ms, ascending. */
async function sendFor(ms: number, { url, customers }: OutageMeans) {
  const took: number[] = [];
  let refused = 0;
  const answers: Promise<void>[] = [];
  const send = async (n: number): Promise<void> => {
    const began = performance.now();
    const customer_id = customers[n % customers.length]!;
    const body = JSON.stringify({ customer_id, sender: customer_id, to: '+989121234567', text: 'while it is away' });
    const status = await fetch(`${url}/v1/sms/send`, { method: 'POST', body }).then(
      async (answer) => {
        await answer.arrayBuffer();
        return answer.status;
      },
      () => 0,
    );
    took.push(performance.now() - began);
    if (status !== 200) refused += 1;
  };
  const began = performance.now();
  for (let passed = 0; passed < ms; passed = performance.now() - began) {
    while (answers.length < (passed * RATE) / 1000) answers.push(send(answers.length));
    await delay(TICK_MS);
  }
  await Promise.all(answers);
  return { sent: answers.length, refused, ms: took.sort((a, b) => a - b) };
}

export async function outage(means: OutageMeans): Promise<SmsOutage> {
  const { link, awayMs, leave, comeBack } = means;
  const before = await sendFor(awayMs / 2, means);
  await leave();
  const away = await sendFor(awayMs, means);
  const waiting = async () => (await link.query<{ n: number }>('SELECT count(*)::int AS n FROM sms_queue')).rows[0]!.n;
  await comeBack();
  const [began, waited] = [performance.now(), await waiting()];
  while ((await waiting()) > 0) {
    if (performance.now() - began > DRAIN_MS_MAX)
      throw new Error(`the backlog is not delivered: ${await waiting()} wait`);
    await delay(TICK_MS);
  }
  return {
    ...{ awayMs, sent: before.sent + away.sent, refused: before.refused + away.refused },
    ...{ beforeMs: before.ms, whileMs: away.ms, waited, drainS: (performance.now() - began) / 1000 },
  };
}
