/** Effective: what options come to on this machine that have no fixed default. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { defaultQuota, lanesFolder } from '../engine/journal.ts';
import { existingFolder, formatBytes } from '../kernel/config.ts';
import { defaultAcceptors } from './config.ts';
import type { FrameValues } from './values.ts';

/** Bytes that the journal may use; undefined without one. */
export function effectiveQuota({ engine }: Pick<FrameValues, 'engine'>): number | undefined {
  if (engine.journalDir === 'off') return undefined;
  return (
    engine.journalMaxBytes ?? defaultQuota(existingFolder(engine.journalDir), bytesIn(lanesFolder(engine.journalDir)))
  );
}

export const effectiveAcceptors = ({ service }: Pick<FrameValues, 'service'>): number =>
  service.acceptors ?? defaultAcceptors();

/** The same as texts of the options, for --print-config. */
export function effectiveTexts(values: FrameValues): Readonly<Record<string, string>> {
  const quota = effectiveQuota(values);
  return {
    ACCEPTORS: String(effectiveAcceptors(values)),
    ...(quota === undefined ? {} : { JOURNAL_MAX_BYTES: formatBytes(quota) }),
  };
}

function bytesIn(folder: string): number {
  if (!existsSync(folder)) return 0;
  return readdirSync(folder).reduce(
    (sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}
