/** Seat: what every thread of a process gets, and how it finds its service, its shared memory and its metrics again. */
import type { SinkBoardShared } from '../engine/sink-board.ts';
import { createLog, type Logger, type LogTarget } from '../kernel/log.ts';
import { attachBoard, type Meters, type MetricSet } from '../kernel/metrics.ts';
import { ThreadBoard } from '../kernel/threads/board.ts';
import type { Roster, Seat } from '../kernel/threads/roster.ts';
import { WakeWords } from '../kernel/threads/wake.ts';
import type { AnyService, Role } from './contract.ts';
import { metricSets } from './metric-sets.ts';
import type { FrameValues } from './values.ts';

/** Plain data and shared memory: it goes to a thread through workerData. */
export interface SeatShared {
  /** Address of the service's module. */
  readonly service: string;
  readonly roles: readonly string[];
  readonly values: FrameValues;
  /** What each role's prepare() returned, by role. */
  readonly prepared: Readonly<Record<string, unknown>>;
  readonly roster: Roster;
  readonly seat: Seat;
  readonly threads: SharedArrayBuffer;
  readonly wake: SharedArrayBuffer;
  readonly sinks: SinkBoardShared;
  readonly metrics: SharedArrayBuffer;
  /** Names of the outputs of this process: label values. */
  readonly outputs: readonly string[];
  readonly log: LogTarget;
}

export type NamedRole = Role & { readonly name: string };

/** What a thread makes of its data first. */
export interface SeatTools {
  readonly roles: readonly NamedRole[];
  readonly log: Logger;
  readonly board: ThreadBoard;
  readonly wake: WakeWords;
  /** Every metric set on the board, in its order. */
  readonly sets: readonly MetricSet[];
  meters<M extends MetricSet>(set: M): Meters<M>;
}

export async function takeSeat(shared: SeatShared): Promise<SeatTools> {
  const { default: service } = (await import(shared.service)) as { default: AnyService };
  const roles = shared.roles.map((name) => ({ ...(service.roles[name] as Role), name }));
  return {
    roles,
    log: createLog({ ...shared.log, name: shared.seat.name }),
    board: new ThreadBoard(shared.threads),
    wake: new WakeWords(shared.wake),
    sets: metricSets(roles, shared.outputs, shared.values),
    meters: (set) => attachBoard(set, shared.metrics, shared.seat.index),
  };
}

export interface Listening {
  readonly address: string;
  /** The option that it comes from. */
  readonly option: string;
}

/** Where the roles listen: each has an address; a role without routes shares the first one's. */
export function listeningOf(roles: readonly NamedRole[], values: FrameValues): readonly Listening[] {
  const own = roles.filter(({ acceptor }) => acceptor !== undefined);
  return (own.length > 0 ? own : roles.slice(0, 1)).map((role) => ({
    address: role.address?.(values) ?? values.http.serverAddr,
    option: role.addressOption ?? 'SERVER_ADDR',
  }));
}

export const addressesOf = (roles: readonly NamedRole[], values: FrameValues): readonly string[] =>
  listeningOf(roles, values).map(({ address }) => address);
