/** Targets in words: where an output delivers to, and what an operator does when it takes nothing. */
import { parseDsn } from '../../store/postgres/dsn.ts';
import type { ConfiguredOutput } from '../configured.ts';

/** Host and port, or the path, of an output's target. */
export function placeOf({ kind, config }: Pick<ConfiguredOutput, 'kind' | 'config'>): string {
  const { kafkaBrokers, pgDsn, httpSinkUrl, logPath } = config as {
    readonly kafkaBrokers?: readonly string[];
    readonly pgDsn?: string;
    readonly httpSinkUrl?: string;
    readonly logPath?: string;
  };
  switch (kind) {
    case 'kafka':
      return (kafkaBrokers ?? []).join(',');
    case 'postgres':
      return pgDsn === undefined
        ? 'PG_DSN is not set'
        : parseDsn(pgDsn)
            .hosts.map(({ host, port }) => `${host}:${port}`)
            .join(',');
    case 'http':
      return httpSinkUrl === undefined ? 'HTTP_SINK_URL is not set' : authority(new URL(httpSinkUrl));
    case 'log':
      return logPath ?? '';
  }
}

const authority = ({ hostname, port, protocol }: URL): string =>
  `${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`;

const FULL = new Set(['ENOSPC', 'EDQUOT']);
/** Statuses of HTTP that are about our credentials. */
const REFUSED = new Set([401, 403, 407]);

/** The first half of a sentence: what has to happen before it is worth another try. */
export function adviceOn(error: unknown, temporary: boolean): string {
  const { code, status } = error as { readonly code?: unknown; readonly status?: unknown };
  if (FULL.has(code as string)) return 'make room on the disk';
  if (REFUSED.has(status as number)) return 'fix the credentials';
  return temporary ? 'wait until it is back' : 'fix the cause';
}
