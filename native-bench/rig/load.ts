/**
 * Load generators, each a process pinned to the load's core, each reporting what was answered.
 *
 *   wrk         closed loop, C; for the rows: it has CPU to spare when the server is at its limit
 *   autocannon  closed loop, Node; saturates before the servers do, so only its CPU per event may be compared
 *   openLoop    fixed rate without coordinated omission (load/open-loop, Go, raw epoll); for latencies
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { HttpRequest } from './request.ts';
import { loadCore } from './subject.ts';

export interface Reply {
  readonly answered: number;
  /** Answered with 3xx or more. */
  readonly refused: number;
  /** Broken connections and time-outs. */
  readonly failed: number;
  readonly durationUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
}

/** Of the generator with a fixed rate. */
export interface OpenReply extends Reply {
  readonly sent: number;
  readonly p90Us: number;
  readonly p9999Us: number;
  readonly backlogMax: number;
  /** Requests that found no free connection. */
  readonly queued: number;
  /** From when a request was due until the generator came to it: its own error, and part of every latency. */
  readonly lateP50Us: number;
  readonly lateP99Us: number;
  readonly lateP999Us: number;
  readonly lateMaxUs: number;
  /** Latency without that error. */
  readonly servedP50Us: number;
  readonly servedP99Us: number;
  readonly servedP999Us: number;
  readonly timeline?: readonly { ms: number; answered: number; p50Us: number; p99Us: number; maxUs: number }[];
}

/** Whether the generator with a fixed rate has reported it. */
export const isOpen = (reply: Reply): reply is OpenReply => 'lateP99Us' in reply;

/** What the caller does at the turning points of a run. */
export interface Moments<R extends Reply> {
  /** Right before the first request. A generator that can hold its connections has opened them and is process `generator`. */
  opened?(generator?: number): void;
  /** All is answered; held connections stay open meanwhile. */
  answered?(reply: R, generator?: number): Promise<void>;
}

export interface Load<R extends Reply = Reply> {
  readonly name: string;
  /** Requests that may be under way when the generator hangs up: the server may or may not have counted them. */
  readonly inFlightMax: number;
  /** Connections that it opens before `opened` and closes after `answered`; 0: their cost is within the run. */
  readonly holds: number;
  /** Uses all of its core whatever the server does. */
  readonly spins: boolean;
  /** The file of requests: a subject that has seen it once is warm for every load made of it. */
  readonly requests: string;
  run(url: string, moments?: Moments<R>): Promise<R>;
}

/** For a generator that cannot tell when its connections are open and closes them at its end. */
function within<R extends Reply>(once: (url: string) => Promise<R>): Load<R>['run'] {
  return async (url, moments) => {
    moments?.opened?.();
    const reply = await once(url);
    await moments?.answered?.(reply);
    return reply;
  };
}

export function runPinned(command: string, args: readonly string[], core = loadCore): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('taskset', ['-c', String(core), command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk));
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(out) : reject(new Error(`${command} must end with 0: code=${code}\n${err}\n${out}`)),
    );
  });
}

export function wrk(
  requestFile: string,
  { connections, seconds, path = '/px.gif' }: { connections: number; seconds: number; path?: string },
): Load {
  const script = join(import.meta.dirname, '..', 'load', 'wrk.lua');
  return {
    name: 'wrk',
    spins: false,
    inFlightMax: connections,
    holds: 0,
    requests: requestFile,
    run: within(async (url) => {
      const out = await runPinned('wrk', [
        ...[
          '-t',
          '1',
          '-c',
          String(connections),
          '-d',
          `${seconds}s`,
          '-s',
          script,
          `${url}${path}`,
          '--',
          requestFile,
        ],
      ]);
      const line = /^RESULT (.*)$/m.exec(out);
      if (!line) throw new Error(`wrk must report a result: said=${out}`);
      return JSON.parse(line[1]!) as Reply;
    }),
  };
}

export interface OpenLoopOptions {
  readonly binary: string;
  readonly connections: number;
  readonly seconds: number;
  readonly rate: number;
  readonly timelineMs?: number;
  /** Sleep between requests: for rows that look at the server's CPU only, on a machine of two cores. */
  readonly nap?: boolean;
  readonly core?: number;
}

export function openLoop(requestFile: string, options: OpenLoopOptions): Load<OpenReply> {
  // The generator takes NaN for a rate, and all memory of the machine for its schedule.
  if (!(options.rate > 0)) throw new RangeError(`a rate must be above 0: found=${options.rate}`);
  return {
    name: 'open-loop',
    spins: !(options.nap ?? false),
    inFlightMax: 0,
    holds: options.connections,
    requests: requestFile,
    run: (url, moments) =>
      held(
        options.binary,
        [
          ...['-addr', new URL(url).host, '-requests', requestFile, '-rate', String(options.rate)],
          ...['-seconds', String(options.seconds), '-connections', String(options.connections)],
          ...['-timeline-ms', String(options.timelineMs ?? 0), `-nap=${options.nap ?? false}`, '-hold'],
        ],
        options.core ?? loadCore,
        moments,
      ),
  };
}

/** Runs the generator with -hold: it says "open", begins at a line, reports, and hangs up at the end of its input. */
async function held(
  command: string,
  args: readonly string[],
  core: number,
  moments: Moments<OpenReply> | undefined,
): Promise<OpenReply> {
  const child = spawn('taskset', ['-c', String(core), command, ...args], { stdio: 'pipe' });
  const ended = once(child, 'close');
  child.stdin.on('error', () => {}); // it has ended: the exit code says why
  let err = '';
  child.stderr.on('data', (chunk: Buffer) => (err += chunk));
  let reply: OpenReply | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'open') {
      moments?.opened?.(child.pid);
      child.stdin.write('begin\n');
    } else {
      reply = JSON.parse(line) as OpenReply;
      await moments?.answered?.(reply, child.pid);
      child.stdin.end();
    }
  }
  const [code] = (await ended) as [number | null];
  if (code !== 0 || reply === undefined) throw new Error(`${command} must end with 0: code=${code}\n${err}`);
  return reply;
}

/** autocannon in a process of its own, on the load's core; its percentiles have a resolution of 1 ms. */
export function autocannon(
  requests: readonly HttpRequest[],
  { connections, seconds }: { connections: number; seconds: number },
): Load {
  const program = join(import.meta.dirname, '..', 'load', 'autocannon.ts');
  return {
    name: 'autocannon',
    spins: false,
    inFlightMax: connections,
    holds: 0,
    requests: 'autocannon',
    run: within(async (url) => {
      const task = JSON.stringify({ url, connections, duration: seconds, requests: requests.slice(0, 128) });
      return JSON.parse(await runPinned(process.execPath, [program, task])) as Reply;
    }),
  };
}
