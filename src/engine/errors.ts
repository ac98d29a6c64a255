/** Errors of the log: why a journal cannot be opened. */
import { defineErrors, exitCodes, inside } from '../kernel/errors.ts';

interface AtPath {
  readonly path: string;
  readonly reason: string;
}

export const engineErrors = defineErrors('engine', {
  JOURNAL_LOCKED: inside(
    false,
    'The journal is in use by another process',
    (f: { path: string; holder: string }) =>
      `journal is in use by another Ringmain: path=${f.path}, found=${f.holder}; ` +
      'a second collector needs its own JOURNAL_DIR and LOG_PATH',
    exitCodes.temporary,
  ),
  JOURNAL_FORMAT: inside(
    false,
    'The journal has an unknown format',
    (f: { path: string; expected: string | number; found: string | number }) =>
      `journal format must be ${f.expected}: path=${f.path}, found=${f.found}; nothing was changed`,
    exitCodes.config,
  ),
  JOURNAL_OPEN: inside(
    false,
    'The journal cannot be opened',
    (f: AtPath) => `journal cannot be opened: path=${f.path}, reason=${f.reason}`,
    exitCodes.config,
  ),
});
