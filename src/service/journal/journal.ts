/** What a command of `ringmain journal` works on: the folder, the flags, and the range of events they choose. */
import type { Batch } from '../../engine/batch.ts';
import { engineErrors } from '../../engine/errors.ts';
import { listLanes, readIdentity } from '../../engine/journal.ts';
import { walkLane } from '../../engine/journal-walk.ts';
import type { FinishedLane } from '../../engine/lane-reader.ts';
import { recoverLanes } from '../../engine/recovery.ts';
import { laneName } from '../../engine/segment.ts';
import { receivedMsAt } from '../../events/record.ts';
import { errors } from '../../kernel/errors.ts';
import { type Configured, configure } from '../configured.ts';
import type { AnyService } from '../contract.ts';
import type { Flag } from '../tool/subcommand.ts';

/** Bytes read at once; a frame that is larger is reported, not read. */
export const WALK_BYTES = 32 * 2 ** 20;
/** A collector that runs may delete a segment between two looks at its folder. */
const LOOKS_MAX = 5;

export interface Log {
  readonly dir: string;
  readonly logId: Buffer;
  /** The same, 32 hex digits. */
  readonly id: string;
}

export class JournalTool {
  readonly configured: Configured;
  readonly flags: ReadonlyMap<string, string>;
  readonly words: readonly string[];

  /** Reads flags and options; touches nothing. */
  constructor(service: AnyService, argv: readonly string[], ownFlags: readonly string[]) {
    this.configured = configure(service, Object.keys(service.roles), { argv, ownFlags });
    this.flags = this.configured.loaded.own;
    this.words = this.configured.loaded.words;
  }

  get dir(): string {
    return this.configured.values.engine.journalDir;
  }

  /** Throws USAGE unless no words stand behind the command. */
  takesNoWords(): void {
    if (this.words.length > 0)
      throw errors.USAGE({
        reason: `flags begin with --, and no other words belong here: found=${this.words.join(' ')}`,
      });
  }

  /** The log of the folder; undefined when there never was one. */
  find(): Log | undefined {
    const { dir } = this;
    if (dir === 'off') return undefined;
    const identity = readIdentity(dir);
    return identity && { dir, id: identity.log, logId: Buffer.from(identity.log, 'hex') };
  }

  /** The log of the folder; throws JOURNAL_OPEN when there is none. */
  open(): Log {
    const log = this.find();
    if (log !== undefined) return log;
    const { dir } = this;
    const reason =
      dir === 'off'
        ? 'JOURNAL_DIR is off, so there is no journal'
        : listLanes(dir).length > 0
          ? 'the file log is missing here, but there are lanes: put it back from the copy that the lanes come from'
          : 'there is no journal in this folder; JOURNAL_DIR must be that of the collector';
    throw engineErrors.JOURNAL_OPEN({ path: dir, reason });
  }

  count(name: string): number | undefined {
    const text = this.flags.get(name);
    if (text === undefined) return undefined;
    if (!/^\d{1,15}$/.test(text)) throw errors.USAGE({ reason: `--${name} must be a whole number: found=${text}` });
    return Number(text);
  }

  #time(name: string): number | undefined {
    const text = this.flags.get(name);
    if (text === undefined) return undefined;
    const ms = Date.parse(text);
    if (Number.isNaN(ms))
      throw errors.USAGE({ reason: `--${name} must be a time like 2026-11-21T08:00:00Z: found=${text}` });
    return ms;
  }

  /** The part of the log that the flags choose. Throws USAGE for a range that does not exist. */
  range(log: Log): Range {
    const [from, to] = [this.count('from'), this.count('to')];
    const lane = this.flags.get('lane');
    if ((from !== undefined || to !== undefined) && lane === undefined)
      throw errors.USAGE({ reason: '--from and --to are positions of one lane: name it by --lane=LIFE-LANE' });
    const all = lanesOf(log);
    const chosen = all.filter(({ id }) => lane === undefined || laneName(id) === lane);
    if (lane !== undefined && chosen.length === 0) {
      const names = all.map(({ id }) => laneName(id)).join(', ') || 'none';
      throw errors.USAGE({ reason: `--lane must be one of the lanes on disk, ${names}: found=${lane}` });
    }
    const resume = placeIn(this.flags.get('resume'));
    const parts = chosen
      .filter(
        ({ id }) =>
          resume === undefined || id.life > resume.life || (id.life === resume.life && id.lane >= resume.lane),
      )
      .map((found) => {
        const resumed = found.id.life === resume?.life && found.id.lane === resume.lane ? resume.position : 0;
        return { lane: found, from: Math.max(from ?? 0, resumed), to };
      });
    return { log, parts, since: this.#time('since'), until: this.#time('until') };
  }
}

/** The lanes of the log, oldest life first. */
export const lanesOf = ({ dir, logId }: Log): readonly FinishedLane[] => lookAgain(() => recoverLanes(dir, logId));

/** Looks once more when a file is gone that was there a moment ago. */
export function lookAgain<T>(look: () => T): T {
  for (let looks = 1; ; looks += 1) {
    try {
      return look();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || looks === LOOKS_MAX) throw error;
    }
  }
}

interface Place {
  readonly life: number;
  readonly lane: number;
  readonly position: number;
}

function placeIn(text: string | undefined): Place | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d{1,10})-(\d{1,5}):(\d{1,15})$/.exec(text);
  if (match === null)
    throw errors.USAGE({
      reason: `--resume must be LIFE-LANE:POSITION, as a replay that stopped has said it: found=${text}`,
    });
  return { life: Number(match[1]), lane: Number(match[2]), position: Number(match[3]) };
}

interface LanePart {
  readonly lane: FinishedLane;
  readonly from: number;
  readonly to: number | undefined;
}

export interface Range {
  readonly log: Log;
  readonly parts: readonly LanePart[];
  readonly since: number | undefined;
  readonly until: number | undefined;
}

export interface Selected {
  readonly batch: Batch;
  /** Indices of the records that lie in the range; none when only the walk has moved on. */
  readonly indices: readonly number[];
  readonly lane: FinishedLane;
  /** Bytes of the range that are read, this batch included. */
  readonly bytesRead: number;
}

const endOf = ({ lane, to }: LanePart): number => Math.min(to ?? Number.POSITIVE_INFINITY, lane.end.position);
const startOf = ({ lane, from }: LanePart): number => Math.max(from, lane.begin.position);

export const bytesOf = ({ parts }: Range): number =>
  parts.reduce((sum, part) => sum + Math.max(0, endOf(part) - startOf(part)), 0);

/** The batches of the range. All are the same object: use one before asking for the next. */
export function* select({ log, parts, since, until }: Range): Generator<Selected> {
  let before = 0;
  for (const part of parts) {
    const { lane, from, to } = part;
    for (const batch of walkLane(log.dir, log.logId, lane, WALK_BYTES, { from, ...(to === undefined ? {} : { to }) })) {
      const indices: number[] = [];
      for (let i = 0; i < batch.count; i++) {
        const position = batch.positions[i]!;
        const ms = receivedMsAt(batch.buffer, batch.offsets[i]!);
        if (
          position >= from &&
          position < endOf(part) &&
          ms >= (since ?? Number.NEGATIVE_INFINITY) &&
          ms < (until ?? Number.POSITIVE_INFINITY)
        )
          indices.push(i);
      }
      yield { batch, indices, lane, bytesRead: before + Math.max(0, batch.to.position - startOf(part)) };
    }
    before += Math.max(0, endOf(part) - startOf(part));
  }
}

/** Flags of a range. */
export const rangeFlags: Readonly<Record<string, Flag>> = {
  lane: { value: 'LIFE-LANE', text: 'one lane, as `ringmain journal ls` names it: 1-0; default: all of them' },
  from: { value: 'POSITION', text: 'events at or after this position of the lane, in bytes; needs --lane' },
  to: { value: 'POSITION', text: 'events before this position of the lane, in bytes; needs --lane' },
  since: { value: 'TIME', text: 'events received at or after this time: 2026-11-21T08:00:00Z' },
  until: { value: 'TIME', text: 'events received before this time' },
};
/** The same in a line of usage. */
export const RANGE = '[range]';
