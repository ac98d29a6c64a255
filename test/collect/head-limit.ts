/** Imported before anything that loads the addon, which reads this once: the limit that the real process sets for itself. */
import { setEnvironment } from '../../src/kernel/config.ts';

setEnvironment('UWS_HTTP_MAX_HEADERS_SIZE', String(32 * 1024));
