/** Targets of tools: whether one is configured, where it is, and what an operator does when it takes nothing. */
import { errors } from '../../kernel/errors.ts';
import { sinkConfigs } from '../../sinks/registry.ts';
import { parseDsn } from '../../store/postgres/dsn.ts';
import type { Configured, ConfiguredOutput } from '../configured.ts';

/**
 * Throws CONFIG when options that the output needs are missing; for those in OUTPUTS, configure() has looked already.
 */
export function mustBeConfigured({ kind, config }: ConfiguredOutput, { values, loaded }: Configured): void {
  const seen = { ...values, sinks: { ...values.sinks, outputs: [kind] } };
  const problems = sinkConfigs[kind].check(config as never, seen as never, loaded.named);
  if (problems.length > 0) throw errors.CONFIG({ problems });
}

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

export const isFull = (error: unknown): boolean => FULL.has((error as { readonly code?: string }).code ?? '');

/** The first half of a sentence: what has to happen before it is worth another try. */
export function adviceOn(error: unknown, temporary: boolean): string {
  const { status } = error as { readonly status?: unknown };
  if (isFull(error)) return 'make room on the disk';
  if (REFUSED.has(status as number)) return 'fix the credentials';
  return temporary ? 'wait until it is back' : 'fix the cause';
}
