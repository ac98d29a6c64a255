/**
 * LaneSource: the order in which one output works through the lanes of a log: life by life, the oldest first; the lanes
 * of one life side by side; the live lanes last and for ever. It knows how far the output is, and keeps the ledger
 * (L5).
 */
import type { CheckpointState, Mark } from '../engine/checkpoint.ts';
import type { Disk } from '../engine/disk.ts';
import { type FinishedLane, type JournalPlace, LaneReader, type LiveLane } from '../engine/lane-reader.ts';
import { branchOf, type Lives } from '../engine/lineage.ts';
import { publishedIn, Ring } from '../engine/ring.ts';
import { type LaneId, laneKey } from '../engine/segment.ts';
import type { SinkBoard } from '../engine/sink-board.ts';
import { type Amount, type DeadIn, EMPTY_LEDGER, type RunningLedger, type Source, Strand, ZERO } from './source.ts';

export interface LaneSourceDeps {
  readonly live: readonly LiveLane[];
  /** Lanes of earlier lives, oldest first. */
  readonly finished: readonly FinishedLane[];
  readonly journal: JournalPlace | undefined;
  /** Number of this output among the readers of the rings. */
  readonly reader: number;
  readonly log: string;
  /** Lives of the log that are known; left out: they have no ids. */
  readonly lives?: Lives;
  readonly disk?: Disk;
}

/**
 * Where an output stood whose thread has died, when there is no journal and so no checkpoint. The cursors of the rings
 * and the board say it. What was under way is delivered again.
 */
export function standingIn(
  live: readonly LiveLane[],
  reader: number,
  log: string,
  board: SinkBoard,
): CheckpointState | undefined {
  const lanes = live.map(({ id, ring }) => {
    const found = new Ring(ring);
    return [id.lane, found.cursor(reader), found.cursorRecord(reader)] as const;
  });
  const passed = lanes.reduce((sum, [, , record]) => sum + record, 0);
  if (live.length === 0 || passed === 0) return undefined;
  const dead = board.get(reader, 'dead');
  const givenUp = board.get(reader, 'givenUp');
  const skipped = board.get(reader, 'skipped');
  const delivered = passed - dead - givenUp - skipped;
  const { life, lifeId } = live[0].id;
  return {
    log,
    life,
    ...(lifeId === undefined ? {} : { lifeId }),
    lanes,
    ledger: { passed, delivered, dead, givenUp, skipped },
  };
}

export class LaneSource implements Source {
  readonly #deps: LaneSourceDeps;
  readonly #rings: readonly Ring[];
  readonly #liveLife: number;
  readonly #startLife: number;
  #life = 0;
  strands: Strand[] = [];
  readonly ledger: RunningLedger;

  constructor(deps: LaneSourceDeps, checkpoint: CheckpointState | undefined) {
    this.#deps = deps;
    this.#rings = deps.live.map(({ ring }) => new Ring(ring));
    this.#startLife = checkpoint?.life ?? 0;
    this.#liveLife = deps.live[0]?.id.life ?? Number.POSITIVE_INFINITY;
    this.ledger = { ...EMPTY_LEDGER, ...checkpoint?.ledger };
    const marks = new Map<string, Mark>();
    const { life = 0, lifeId } = checkpoint ?? {};
    for (const [lane, position, record] of checkpoint?.lanes ?? [])
      marks.set(laneKey({ life, lane, ...(lifeId === undefined ? {} : { lifeId }) }), { position, record });
    this.#enter(life, (id) => marks.get(laneKey(id)) ?? ZERO);
  }

  get life(): number {
    return this.#life;
  }
  get live(): boolean {
    return this.#life === this.#liveLife;
  }

  /** Goes to the oldest life that is still there, `life` or a later one. */
  #enter(life: number, markOf: (id: LaneId) => Mark): void {
    for (const strand of this.strands) strand.reader.close();
    this.#life = this.#lifeFrom(life);
    const lanes = this.live ? this.#deps.live : this.#deps.finished.filter((lane) => lane.id.life === this.#life);
    this.strands = lanes.map((lane) => this.#strand(lane, markOf(lane.id)));
  }

  #lifeFrom(life: number): number {
    const lives = this.#deps.finished.map((lane) => lane.id.life).filter((l) => l >= life);
    return Math.min(this.#liveLife, ...lives);
  }

  #strand(lane: LiveLane | FinishedLane, mark: Mark): Strand {
    // A power cut may take the unsynced end of a log, so an output may be ahead of it: then the lane is done.
    const ahead = 'end' in lane && mark.position > lane.end.position;
    const reader = new LaneReader(
      lane,
      this.#deps.reader,
      ahead ? lane.end : mark,
      this.#deps.journal,
      this.#deps.disk,
    );
    if (!('end' in lane)) reader.advance(mark);
    return new Strand(lane.id, reader);
  }

  /** Goes on to the next life if every lane of this one is delivered. Returns whether it did. */
  advance(): boolean {
    if (this.live || !this.strands.every((strand) => strand.done)) return false;
    if (this.#liveLife === Number.POSITIVE_INFINITY && !this.#deps.finished.some((lane) => lane.id.life > this.#life))
      return false;
    this.#enter(this.#life + 1, () => ZERO);
    return true;
  }

  /** True when there are no live lanes and everything that is left of the log is delivered. */
  get exhausted(): boolean {
    return (
      this.#liveLife === Number.POSITIVE_INFINITY &&
      this.strands.every((strand) => strand.done) &&
      !this.#deps.finished.some((lane) => lane.id.life > this.#life)
    );
  }

  /** Goes where the target says it stands. Cursors older than what is on disk show as losses when the lane is read. */
  follow(cursors: ReadonlyMap<string, Mark>, deadIn: DeadIn): void {
    const markOf = (id: LaneId) => cursors.get(laneKey(id)) ?? ZERO;
    const behind = this.#deps.finished.find((lane) => {
      const mark = markOf(lane.id);
      // The target has no cursor of a lane that was delivered before the target kept cursors.
      return mark.position < lane.end.position && (lane.id.life >= this.#life || cursors.has(laneKey(lane.id)));
    });
    const life = this.#lifeFrom(Math.min(behind?.id.life ?? this.#liveLife, this.#life));
    // Asked first: reading the letters may fail, and then nothing has changed.
    const dead = this.#deadBetween(life, markOf, deadIn);
    const before = this.passedMarks();
    this.#enter(life, markOf);
    // The ledger counts a record once: what is delivered again was counted before.
    const moved = this.passedMarks() - before;
    this.ledger.passed += moved;
    this.ledger.delivered += moved - dead;
    this.ledger.dead += dead;
  }

  /** Records with a letter between where the output stands and these marks; below 0 when the marks are behind. */
  #deadBetween(life: number, markOf: (id: LaneId) => Mark, deadIn: DeadIn): number {
    const stood = new Map(this.strands.map(({ key, delivered }) => [key, delivered.position]));
    let dead = 0;
    for (const lane of [...this.#deps.finished, ...this.#deps.live]) {
      const key = laneKey(lane.id);
      const end = 'end' in lane ? lane.end.position : Number.POSITIVE_INFINITY;
      const positionIn = (other: number, here: number) =>
        lane.id.life === other ? Math.min(here, end) : lane.id.life < other ? end : 0;
      const from = positionIn(this.#life, stood.get(key) ?? 0);
      const to = positionIn(life, markOf(lane.id).position);
      if (to > from) dead += deadIn(key, from, to);
      else if (to < from) dead -= deadIn(key, to, from);
    }
    return dead;
  }

  /** Records in front of the marks of this life's lanes, and all records of earlier lives that are on disk. */
  passedMarks(): number {
    const earlier = this.#deps.finished.filter(({ id }) => id.life < this.#life);
    const records = earlier.reduce((sum, { end }) => sum + end.record, 0);
    return this.strands.reduce((sum, strand) => sum + strand.delivered.record, records);
  }

  /** Records and bytes not delivered yet, later lives included. */
  lag(): Amount {
    let records = 0;
    let bytes = 0;
    for (const strand of this.strands) {
      const end = strand.reader.end();
      records += Math.max(0, end.record - strand.delivered.record);
      bytes += Math.max(0, end.position - strand.delivered.position);
    }
    if (!this.live) {
      for (const lane of this.#deps.finished) {
        if (lane.id.life <= this.#life) continue;
        records += lane.end.record;
        bytes += lane.end.position;
      }
      const published = this.published();
      records += published.records;
      bytes += published.bytes;
    }
    return { records, bytes };
  }

  /** What the live lanes have taken in this life. */
  published(): Amount {
    return publishedIn(this.#rings);
  }

  state(target: unknown): CheckpointState {
    const ledger = { ...this.ledger };
    // Without live lanes and with nothing left, the life stays that the output was in.
    const life = Number.isFinite(this.#life) ? this.#life : this.#startLife;
    const { lives } = this.#deps;
    const branch = branchOf(lives ?? new Map(), life);
    // Lanes of one number from two copies: the checkpoint speaks for those of one, and the others come again.
    const lanes = this.strands
      .filter(({ id }) => lives === undefined || id.lifeId === branch.lifeId)
      .map(({ id, delivered }) => [id.lane, delivered.position, delivered.record] as const);
    return { log: this.#deps.log, life, ...branch, lanes, ledger, ...(target === undefined ? {} : { target }) };
  }

  close(): void {
    for (const strand of this.strands) strand.reader.close();
  }
}
