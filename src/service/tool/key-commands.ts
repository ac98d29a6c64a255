/** Commands of a key that exists, alike in every service: another secret, and its end. */
import { meantKeyId } from '../../access/api-key.ts';
import { exitCodes } from '../../kernel/errors.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { DatabaseTool } from './database-tool.ts';
import { json, numberOf } from './flags.ts';
import { say } from './output.ts';

const OVERLAP_S = 3600;

/** `ends`: what ends now without an overlap. */
export const rotationFlags = (ends: string) => ({
  ...json,
  overlap: { value: 'SECONDS', text: `${OVERLAP_S} by default; 0: ${ends} now` },
});

/** Runs `rotate KEY_ID`. */
export async function rotateBy<Made>(
  tool: DatabaseTool,
  rotate: (link: PostgresLink, pepper: string, id: string, overlapS: number) => Promise<Made>,
  show: (tool: DatabaseTool, made: Made) => void,
): Promise<number> {
  const [id] = tool.words as [string];
  const { pepper } = tool;
  const overlapS = numberOf(tool, 'overlap') ?? OVERLAP_S;
  show(tool, await tool.onDatabase((link) => rotate(link, pepper, meantKeyId(id), overlapS)));
  return exitCodes.ok;
}

/** Runs `revoke KEY_ID`. */
export async function revokeBy(
  tool: DatabaseTool,
  revoke: (link: PostgresLink, id: string) => Promise<unknown>,
): Promise<number> {
  const id = meantKeyId(tool.words[0]!);
  await tool.onDatabase((link) => revoke(link, id));
  say(`key ${id} is revoked`);
  return exitCodes.ok;
}
