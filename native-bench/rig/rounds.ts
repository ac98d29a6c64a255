/**
 * Interleaved rounds: A B C D A B C D ... so that whatever the machine does meanwhile hits all of them alike, and ratios
 * are taken within a round. One measured round of one subject is one `Round`; a round whose lines do not match the
 * answers, or with a failed request, is void and so is its row.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isOpen, type Load, type OpenReply, type Reply } from './load.ts';
import { warmFreeMemory } from './memory.ts';
import { between, machineTime, ownCpuUs, treeCpuUs, treeRssMiB, usPerTick } from './proc.ts';
import { type Spread, spread } from './stats.ts';
import { freeze, LineCounter, type Subject, thaw, untilWritten } from './subject.ts';

export interface Round {
  readonly events: number;
  readonly seconds: number;
  readonly cpuUsPerEvent: number;
  /**
   * Of the whole machine without the load generator: kernel threads that write the files out are in here. NaN when the
   * generator spins: its time is all of a core, and what is left over by subtraction is noise.
   */
  readonly machineUsPerEvent: number;
  readonly eventsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
  readonly rssMiB: number;
  readonly lines: number | undefined;
  readonly steal: number;
  /** Cores that neither the subject nor the load used; the kernel's own writing of the files is in it. */
  readonly foreignCores: number;
  /** What else the generator with a fixed rate has told: its own lateness, far percentiles, the timeline. */
  readonly open?: OpenReply;
  /** Why this round counts for nothing. */
  readonly invalid: string | undefined;
}

/** Lines that were written against answers that were given; what was under way at the end may have been written. */
export function invalidReason(
  reply: Pick<Reply, 'answered' | 'refused' | 'failed'> & { readonly sent?: number },
  lines: number | undefined,
  { eventsPerRequest, inFlightMax }: { eventsPerRequest: number; inFlightMax: number },
): string | undefined {
  if (reply.answered === 0) return 'nothing was answered';
  if (reply.refused > 0) return `${reply.refused} answers of 3xx or more`;
  if (reply.failed > 0) return `${reply.failed} broken or timed out`;
  // They would be missing in the percentiles, and at the worst moment.
  if (reply.sent !== undefined && reply.sent > reply.answered)
    return `${reply.sent - reply.answered} were not answered`;
  if (lines === undefined) return undefined;
  const least = reply.answered * eventsPerRequest;
  if (lines < least) return `${least - lines} of ${least} events are missing in the file`;
  if (lines > least + inFlightMax * eventsPerRequest) return `${lines - least} lines more than answers`;
  return undefined;
}

const counter = new LineCounter();
/** More than any subject writes in a round of single events. */
const warmBytes = 400 * 2 ** 20;

const hasLog = (subject: Subject): boolean => subject.logs.length > 0;

/** What a subject, the machine and this process with its generators, ended ones and the one that still runs, have used so far. */
const used = (subject: Subject, behind: readonly Subject[], generator?: number) => ({
  atMs: performance.now(),
  cpuUs: treeCpuUs(subject.pid),
  machine: machineTime(),
  ownUs: [...behind.map(({ pid }) => pid), ...(generator === undefined ? [] : [generator])]
    .map(treeCpuUs)
    .reduce((sum, one) => sum + one, ownCpuUs()),
});

/** How long a server may take to notice that its connections were closed, ms. */
const CLOSING_MS = 3000;

/** Waits until the subject has stopped working, so that what it does after a round is not counted in its next one. */
async function untilQuiet(subject: Subject): Promise<void> {
  for (const deadline = Date.now() + CLOSING_MS; Date.now() < deadline; ) {
    const before = treeCpuUs(subject.pid);
    await sleep(100);
    if (treeCpuUs(subject.pid) - before <= usPerTick()) return;
  }
}

export interface MeasureOptions {
  readonly eventsPerRequest?: number | undefined;
  /** What is measured is refusals: a round with other answers than those of 3xx or more is void. */
  readonly refusals?: boolean | undefined;
  /** Servers that the subject asks. They are never frozen, and what they use counts with the load. */
  readonly behind?: readonly Subject[] | undefined;
}

/** Limits let a request through now and then. */
const notRefusedMax = 0.001;

/** Of a load that is to be refused, the reply with its refusals as answers. */
function refusedOf<R extends Reply>(reply: R): R {
  const passed = reply.answered - reply.refused;
  return { ...reply, refused: 0, failed: reply.failed + (passed > notRefusedMax * reply.answered ? passed : 0) };
}

/**
 * Runs one load against one subject and counts the cost of everything from its first request until its files are written. Opening
 * and closing the connections is in it only if the generator cannot hold them.
 */
export async function measure(
  subject: Subject,
  load: Load,
  { eventsPerRequest = 1, refusals = false, behind = [] }: MeasureOptions = {},
): Promise<Round> {
  warmFreeMemory(eventsPerRequest > 1 ? 3 * warmBytes : warmBytes);
  thaw(subject);
  const linesBefore = counter.count(subject.logs);
  let before = used(subject, behind);
  let after = before;
  let rssMiB = Number.NaN;
  const reply = await load.run(subject.url, {
    opened: (generator) => {
      before = used(subject, behind, generator);
    },
    answered: async ({ answered }, generator) => {
      subject.flush?.();
      await untilWritten(subject.logs);
      // On a busy machine a file may stand still and yet not be finished.
      const least = linesBefore + answered * eventsPerRequest;
      for (const deadline = Date.now() + 10_000; hasLog(subject) && Date.now() < deadline; ) {
        if (counter.count(subject.logs) >= least) break;
        await untilWritten(subject.logs);
      }
      after = used(subject, behind, generator);
      rssMiB = treeRssMiB(subject.pid);
    },
  });
  if (load.holds > 0) await untilQuiet(subject);
  freeze(subject);
  const cpuUs = after.cpuUs - before.cpuUs;
  const machineUs = after.machine.busyUs - before.machine.busyUs - (after.ownUs - before.ownUs);
  const foreignCores = (machineUs - cpuUs) / ((after.atMs - before.atMs) * 1000);
  const lines = hasLog(subject) ? counter.count(subject.logs) - linesBefore : undefined;
  const events = reply.answered * eventsPerRequest;
  return {
    events,
    seconds: reply.durationUs / 1e6,
    cpuUsPerEvent: cpuUs / events,
    machineUsPerEvent: load.spins ? Number.NaN : machineUs / events,
    eventsPerSecond: events / (reply.durationUs / 1e6),
    p50Us: reply.p50Us,
    p99Us: reply.p99Us,
    p999Us: reply.p999Us,
    maxUs: reply.maxUs,
    rssMiB,
    lines,
    steal: between(before.machine, after.machine).steal,
    foreignCores,
    ...(isOpen(reply) ? { open: reply } : {}),
    invalid: invalidReason(refusals ? refusedOf(reply) : reply, lines, {
      eventsPerRequest,
      inFlightMax: load.inFlightMax,
    }),
  };
}

export interface Contestant {
  readonly name: string;
  once(): Promise<Round>;
}

export interface Entry {
  readonly name: string;
  readonly subject: Subject;
  readonly load: Load;
  readonly eventsPerRequest?: number;
  readonly refusals?: boolean;
  readonly behind?: readonly Subject[];
}

/** Which requests a subject has been warmed with. */
const warmed = new WeakMap<Subject, Set<string>>();

/** True once per subject and kind of request. */
function needsWarming(subject: Subject, { requests }: Load): boolean {
  const seen = warmed.get(subject) ?? new Set();
  warmed.set(subject, seen);
  return !seen.has(requests) && Boolean(seen.add(requests));
}

export async function warmUp(subject: Subject, load: Load): Promise<void> {
  thaw(subject);
  await load.run(subject.url);
  subject.flush?.(); // Lines that are still buffered must not be counted in the first round.
  await untilWritten(subject.logs);
  freeze(subject);
}

/**
 * Runs every subject at its limit before rows at a fixed rate: at a low one the compiler of a just-in-time engine needs minutes, and its
 * work would be measured instead of the server's.
 */
export async function runIn(subjects: readonly Subject[], load: Load): Promise<void> {
  for (const subject of subjects) freeze(subject);
  for (const subject of subjects) await warmUp(subject, load);
}

/** Warms every subject with the requests it will see (in a short run with batches alone), then measures in interleaved rounds. */
export async function contest(entries: readonly Entry[], rounds: number): Promise<Results> {
  // Batches fill the small segments of a fresh lane faster than they grow: who does not warm them is refused.
  const cold = entries.filter(({ eventsPerRequest = 1 }) => rounds > 1 || eventsPerRequest > 1);
  for (const { subject, load } of cold) {
    if (needsWarming(subject, load)) await warmUp(subject, load);
  }
  for (const { subject } of entries) freeze(subject);
  const contestants = entries.map(({ name, subject, load, eventsPerRequest, refusals, behind }) => ({
    name,
    once: () => measure(subject, load, { eventsPerRequest, refusals, behind }),
  }));
  return interleave(contestants, rounds);
}

export type Results = ReadonlyMap<string, readonly Round[]>;

/** More cores than this in use by others is somebody else's work, not the kernel writing our files. */
const foreignCoresMax = 0.5;
/**
 * A larger share of the machine's time taken by the hypervisor makes latencies void (CPU per event bears it). It comes in pieces of
 * 14 and 24 ms: at 80 % of its limit a server works off such a pause in 100 ms, and the p99 of a round of two seconds is that alone.
 */
const stealMax = 0.004;

/** What the rounds of a question met, for the line under its tables. */
export const met = {
  /** Rounds that counted for nothing, because somebody else worked on the machine. */
  foreign: 0,
  /** Rounds whose latencies count for nothing, because the hypervisor took time. */
  stolen: 0,
  /** Rows that are not printed, because fewer than half of their rounds are left. */
  rows: new Set<string>(),
};

export function clearMet(): void {
  Object.assign(met, { foreign: 0, stolen: 0 });
  met.rows.clear();
}

const isForeign = ({ foreignCores }: Round): boolean => foreignCores > foreignCoresMax;
const isStolen = ({ open, steal }: Round): boolean => open !== undefined && steal > stealMax;

/** The rounds whose latencies are the subject's; none when they are fewer than half. */
export function calm(rounds: readonly Round[]): readonly Round[] {
  const calmOnes = rounds.filter((round) => rounds.length === 1 || !isStolen(round));
  return calmOnes.length * 2 < rounds.length ? [] : calmOnes;
}

/**
 * Measures all contestants in turn, `rounds` times. A round that is disturbed is repeated as a whole, for all of them, so that nobody's
 * bad luck is picked out; at most half as many times as there are rounds. Once nothing is left to repeat with, a round in which somebody
 * else worked is dropped, and a row with fewer than half of its rounds has none. A single round is kept: it shows that all of it works.
 */
export async function interleave(contestants: readonly Contestant[], rounds: number): Promise<Results> {
  const results = new Map<string, Round[]>(contestants.map(({ name }) => [name, []]));
  let repeatsLeft = rounds > 1 ? Math.ceil(rounds / 2) : 0;
  for (let round = 0; round < rounds; ) {
    const measured: [string, Round][] = [];
    for (const { name, once } of contestants) {
      const one = await once();
      measured.push([name, one]);
      const note = one.invalid ? `  VOID: ${one.invalid}` : '';
      const cost = `${one.cpuUsPerEvent.toFixed(2)} us, ${Math.round(one.eventsPerSecond)}/s`;
      const others = `others ${one.foreignCores.toFixed(2)} cores, stolen ${(100 * one.steal).toFixed(1)} %`;
      console.error(`  ${round + 1}/${rounds} ${name}: ${cost}, ${others}${note}`);
    }
    const foreign = measured.some(([, one]) => isForeign(one));
    const stolen = measured.some(([, one]) => isStolen(one));
    if (rounds > 1 && foreign) met.foreign += 1;
    else if (rounds > 1 && stolen) met.stolen += 1;
    if ((foreign || stolen) && repeatsLeft > 0) {
      repeatsLeft -= 1;
      continue;
    }
    if (!foreign || rounds === 1) for (const [name, one] of measured) results.get(name)!.push(one);
    round += 1;
  }
  for (const [name, kept] of results) if (kept.length * 2 < rounds) results.set(name, []);
  return results;
}

export type Figure = { [K in keyof Round]-?: Round[K] extends number ? K : never }[keyof Round];

export function column(rounds: readonly Round[], figure: Figure): number[] {
  return rounds.map((round) => round[figure]);
}

export const spreadOf = (rounds: readonly Round[], figure: Figure): Spread => spread(column(rounds, figure));

type OpenFigure = { [K in keyof OpenReply]-?: OpenReply[K] extends number ? K : never }[keyof OpenReply];

/** As column(), of what only the generator with a fixed rate tells. */
export const openColumn = (rounds: readonly Round[], figure: OpenFigure): number[] =>
  rounds.map(({ open }) => open?.[figure] ?? Number.NaN);

const tooFewRounds = 'somebody else worked on the machine in too many of its rounds';

export const voidReason = (rounds: readonly Round[]): string | undefined =>
  rounds.length === 0 ? tooFewRounds : rounds.map((round) => round.invalid).find((reason) => reason !== undefined);
