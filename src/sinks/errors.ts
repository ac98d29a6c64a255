/** Errors of the sinks' targets. */
import { defineErrors, exitCodes, inside } from '../kernel/errors.ts';

export const sinkErrors = defineErrors('sinks', {
  LOG_FILE_LOCKED: inside(
    false,
    'Another process writes to the log file',
    (f: { path: string; holder: string }) =>
      `log file must have one writer: path=${f.path}, found=${f.holder}; ` +
      'a second collector needs LOG_PATH and JOURNAL_DIR of its own',
    exitCodes.temporary,
  ),
});
