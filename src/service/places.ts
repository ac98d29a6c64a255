/**
 * Places: whether the paths of the options that are in use can be used, asked before anything is touched. A restart that finds a directory
 * where its file should be must end with one line and 78, not run and retry until the quota is full.
 */
import { directoryProblem, writableFileProblem } from '../kernel/config.ts';
import type { PixelValues } from './process.ts';

/** One line for each path that cannot be used; what is off may be missing. */
export function placeProblems({ engine, sinks, sinkValues }: PixelValues): string[] {
  const { logPath } = sinkValues.log as { logPath: string };
  const { outputs } = sinks;
  return [
    engine.journalDir === 'off' ? undefined : directoryProblem('JOURNAL_DIR', engine.journalDir),
    outputs.includes('log') && logPath !== 'stdout' ? writableFileProblem('LOG_PATH', logPath) : undefined,
    // A file refuses no event.
    outputs.some((name) => name !== 'log') ? directoryProblem('DEAD_LETTER_DIR', sinks.deadLetterDir) : undefined,
  ].filter((problem) => problem !== undefined);
}
