/**
 * Lineage: whether a checkpoint was made on this log as it lies on disk, or on another branch of it. A journal that is
 * put back from a copy is a branch: it shares the lives up to the copy with the log that went on, and no later one. A
 * checkpoint may come from another branch too, when the folder was put back in parts.
 *
 * The log file lists the ids of its lives, and each checkpoint those of the lives before its own. Where both lists
 * agree, the history is one. A checkpoint of another branch is taken to have passed the newest life that both know, and
 * nothing behind it: what it cannot vouch for is delivered again rather than skipped.
 */
import type { CheckpointState } from './checkpoint.ts';
import type { LaneId } from './segment.ts';

/** Number and id of a life. */
export type Life = readonly [life: number, lifeId: string];
/** The lives of a log that are known: in its list, or by a lane on disk ('' when that lane has no id). */
export type Lives = ReadonlyMap<number, string>;

/** Lives in the log's list at most; one that is older and still has lanes is known by these. */
export const LIVES_MAX = 256;
/** Earlier lives that a checkpoint names at most: its slot is small. */
const LINE_MAX = 16;

const NO_ID = '';

export function livesOf(listed: readonly Life[], lanes: readonly LaneId[]): Lives {
  const lives = new Map<number, string>();
  for (const { life, lifeId } of lanes) if (!lives.get(life)) lives.set(life, lifeId ?? NO_ID);
  for (const [life, lifeId] of listed) if (!lives.get(life)) lives.set(life, lifeId);
  return new Map([...lives].sort(([a], [b]) => a - b));
}

/** What a checkpoint in `life` says of its branch. */
export function branchOf(lives: Lives, life: number): Pick<CheckpointState, 'lifeId' | 'line'> {
  const lifeId = lives.get(life) || undefined;
  const line = [...lives].filter(([earlier, id]) => earlier < life && id !== NO_ID).slice(-LINE_MAX);
  return { ...(lifeId === undefined ? {} : { lifeId }), ...(line.length === 0 ? {} : { line }) };
}

/** Whether the checkpoint was made on this branch. `lives` ends with the life that begins now. */
export function isOfBranch({ life, lifeId }: Pick<CheckpointState, 'life' | 'lifeId'>, lives: Lives): boolean {
  const known = lives.get(life);
  if (known !== undefined) return known === (lifeId ?? NO_ID);
  // Of a version without ids: its life has no lane any more.
  return lifeId === undefined && life < Math.max(...lives.keys());
}

/** The checkpoint of another branch, moved to where this one left it. Ledger and target state stay. */
export function movedToBranch(state: CheckpointState, lives: Lives): CheckpointState {
  const common = (state.line ?? []).filter(([life, id]) => lives.get(life) === id).map(([life]) => life);
  const passed = Math.max(-1, ...common);
  const life = Math.min(...[...lives.keys()].filter((known) => known > passed));
  const { lifeId: _, line: __, ...rest } = state;
  return { ...rest, life, lanes: [], ...branchOf(lives, life) };
}
