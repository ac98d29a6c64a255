/**
 * Paths: whether the paths of the options that are in use can be used, asked before anything is touched. A restart that
 * finds a directory where its file should be ends with one line and 78; it does not run and retry until the quota is
 * full.
 */
import { directoryProblem, writableFileProblem } from '../kernel/config.ts';
import type { Configured } from './configured.ts';

/** One line for each path that cannot be used; the paths of what is off are not looked at. */
export function pathProblems({ values, outputs }: Pick<Configured, 'values' | 'outputs'>): string[] {
  const { engine, sinks } = values;
  const files = outputs
    .filter(({ kind }) => kind === 'log')
    .map(({ config }) => (config as { logPath: string }).logPath)
    .filter((path) => path !== 'stdout');
  return [
    engine.journalDir === 'off' ? undefined : directoryProblem('JOURNAL_DIR', engine.journalDir),
    ...files.map((path) => writableFileProblem('LOG_PATH', path)),
    // A file refuses no event.
    outputs.some(({ kind }) => kind !== 'log') ? directoryProblem('DEAD_LETTER_DIR', sinks.deadLetterDir) : undefined,
  ].filter((problem) => problem !== undefined);
}
