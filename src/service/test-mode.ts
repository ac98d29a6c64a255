/**
 * TEST_MODE: sends a few sample events through the whole path when everything is up, by HTTP to our own port, and tells
 * for each output whether they have arrived. A sink has them when its cursors have passed the place where the lanes
 * stood after the last answer. Nothing else is different from a client's event, but for the mark that the role gives
 * its samples (role.samples), by which reports leave them out.
 */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineShared } from '../engine/engine.ts';
import { Ring } from '../engine/ring.ts';
import { SinkBoard } from '../engine/sink-board.ts';
import type { Logger } from '../kernel/log.ts';
import type { Sample } from './contract.ts';

const ANSWER_MS_MAX = 10_000;
/** Sinks have their own flush intervals and back-offs; one that takes longer is told as it is then. */
const ARRIVAL_MS_MAX = 30_000;
const LOOK_MS = 20;

export interface TestModeDeps {
  /** URL of the role's port, on this machine. */
  readonly at: string;
  readonly samples: readonly Sample[];
  readonly engine: EngineShared;
  readonly log: Logger;
  /** True: the process ends; nobody waits for samples any more. */
  readonly ended: () => boolean;
}

/** Never rejects: what fails is a line of the log. */
export async function sendSamples({ at, samples, engine, log, ended }: TestModeDeps): Promise<void> {
  const rings = engine.lanes.map(({ ring }) => new Ring(ring));
  const board = new SinkBoard(engine.board);
  const before = engine.sinks.map((_, i) => board.get(i, 'dead'));
  for (const sample of samples) {
    const refused = await send(at, sample);
    if (refused === undefined) continue;
    log.error({ sample: `${sample.method} ${sample.path.split('?')[0]}`, reason: refused }, 'a test event was refused');
    return;
  }
  log.info({ events: samples.length }, 'test events acknowledged (TEST_MODE)');
  const tails = rings.map((ring) => ring.tail());
  const begin = performance.now();
  const waiting = new Set(engine.sinks.keys());
  const passedMs = new Map<number, number>();
  while (waiting.size > 0 && performance.now() - begin < ARRIVAL_MS_MAX && !ended()) {
    for (const i of waiting) {
      if (!rings.every((ring, lane) => ring.cursor(i) >= tails[lane]!)) continue;
      const now = performance.now();
      if (!passedMs.has(i)) passedMs.set(i, now);
      // A cursor passes what was refused as well: the next word of the sink's thread says how many those are.
      if (board.quietMs(i) >= now - passedMs.get(i)!) continue;
      waiting.delete(i);
      const dead = board.get(i, 'dead') - before[i]!;
      const line = { sink: engine.sinks[i], waitedMs: Math.round(performance.now() - begin) };
      if (dead === 0) log.info(line, 'test events arrived');
      else log.error({ ...line, deadLetters: dead }, 'the target rejected test events; see the dead-letter file');
    }
    await sleep(LOOK_MS);
  }
  if (ended()) return;
  for (const i of waiting)
    log.error(
      { sink: engine.sinks[i], state: board.state(i), reason: board.reason(i), waitedMs: ARRIVAL_MS_MAX },
      'test events have not arrived yet; they are delivered once the sink is up',
    );
}

/** Why it was refused; undefined: it was not. */
function send(at: string, { method, path, headers = {}, body }: Sample): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = at.startsWith('https:') ? httpsRequest : httpRequest;
    const asked = request(
      new URL(path, at),
      { method, headers, timeout: ANSWER_MS_MAX, rejectUnauthorized: false, agent: false },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          if (text.length < 500) text += part;
        });
        const { statusCode = 0 } = response;
        response.on('end', () => resolve(statusCode < 300 ? undefined : `status ${statusCode}: ${text.slice(0, 500)}`));
        response.on('error', (error) => resolve(error.message));
      },
    );
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${ANSWER_MS_MAX} ms`)));
    asked.on('error', (error) => resolve(error.message));
    asked.end(body);
  });
}
