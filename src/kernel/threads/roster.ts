/**
 * Roster: every thread of the process but main, each with a seat. The seat's number is the thread's one name in shared
 * memory: its entry on the thread board, its wake word, its slot on the metrics board.
 *
 *   seat 0                the keeper (the seat exists also without a journal)
 *   then                  outputs, in the order of OUTPUTS: reader k of the rings sits at seat 1 + k
 *   then                  workers, each with as many seats as it has threads
 *   last                  acceptors
 *
 * Lanes belong to who publishes: lane k to acceptor k, the lanes behind them to publishing workers.
 */
export type SeatKind = 'keeper' | 'output' | 'worker' | 'acceptor';

export interface Seat {
  readonly index: number;
  readonly kind: SeatKind;
  /** Unique; what the log, /readyz and /metrics call the thread. */
  readonly name: string;
  /** Which of the threads of its kind, or of its worker, it is. */
  readonly number: number;
  /** Which reader of the rings it is; -1: none. */
  readonly reader: number;
  /** Which lane it writes; -1: none. */
  readonly lane: number;
}

/** Plain data: it goes to every thread. */
export type Roster = readonly Seat[];

export const KEEPER_SEAT = 0;
export const FIRST_OUTPUT_SEAT = 1;

export interface RosterWish {
  readonly outputs: readonly string[];
  readonly workers: readonly { readonly name: string; readonly count: number; readonly publishes: boolean }[];
  readonly acceptors: number;
  /** False: nobody has a lane, for nothing of this process reads lanes. */
  readonly lanes: boolean;
}

export function makeRoster({ outputs, workers, acceptors, lanes }: RosterWish): Roster {
  const seats: Omit<Seat, 'index'>[] = [{ kind: 'keeper', name: 'keeper', number: 0, reader: -1, lane: -1 }];
  outputs.forEach((name, reader) => {
    seats.push({ kind: 'output', name: `sink-${name}`, number: reader, reader, lane: -1 });
  });
  let lane = acceptors;
  for (const { name, count, publishes } of workers)
    for (let number = 0; number < count; number++)
      seats.push({
        kind: 'worker',
        name: count === 1 ? name : `${name}-${number}`,
        number,
        reader: -1,
        lane: lanes && publishes ? lane++ : -1,
      });
  for (let number = 0; number < acceptors; number++)
    seats.push({ kind: 'acceptor', name: `acceptor-${number}`, number, reader: -1, lane: lanes ? number : -1 });
  const names = seats.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new TypeError(`threads must have different names: name=${twice}`);
  return seats.map((seat, index) => ({ ...seat, index }));
}

export const seatsOf = (roster: Roster, kind: SeatKind): readonly Seat[] => roster.filter((seat) => seat.kind === kind);

/** How many lanes the seats have. */
export const lanesOf = (roster: Roster): number => roster.filter((seat) => seat.lane >= 0).length;
