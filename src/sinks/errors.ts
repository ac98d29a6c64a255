/** Errors of the sinks' targets. */
import { defineErrors, exitCodes, inside } from '../kernel/errors.ts';

export const sinkErrors = defineErrors('sinks', {
  LOG_FILE_LOCKED: inside(
    false,
    'The log file is in use by another process',
    (f: { path: string; holder: string }) =>
      `log file is in use by another Ringmain: path=${f.path}, found=${f.holder}; ` +
      'a second collector needs its own LOG_PATH and JOURNAL_DIR',
    exitCodes.temporary,
  ),
});
