/** The database of a tool: what it refuses becomes one line. */
import { errors } from '../../kernel/errors.ts';
import { reasonAt } from '../../kernel/place.ts';
import { type LinkOptions, openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault, faultOf, isDenied, sqlState } from '../../store/postgres/fault.ts';
import { passing } from '../../store/postgres/vanishing.ts';
import type { Configured } from '../configured.ts';
import type { AnyService } from '../contract.ts';
import { serviceErrors } from '../errors.ts';
import { placeOf } from './target.ts';

/** Runs `work` on a connection of its own, which the server ends when this process stands still within a transaction. */
export async function onDatabase<T>(
  service: AnyService,
  configured: Configured,
  options: Partial<LinkOptions>,
  work: (link: PostgresLink) => Promise<T>,
): Promise<T> {
  const dsn = dsnOf(service, configured);
  let link: PostgresLink | undefined;
  try {
    // What a command says that it did, nobody does again.
    link = await openLink(dsn, { durable: true, settings: passing, ...options });
    return await work(link);
  } catch (error) {
    const fault = faultOf(error);
    // Ours, or of a file that `work` reads.
    if (error instanceof Error && ('kind' in error || ('syscall' in error && 'path' in error))) throw error;
    const { name } = service;
    if (sqlState(error) === '42P01')
      throw serviceErrors.DATABASE_REFUSED({ reason: `the tables must be there first: ringmain migrate ${name} up` });
    const reason = reasonAt(describeFault(error), [placeOf({ kind: 'postgres', config: { pgDsn: dsn } })]);
    if (['network', 'moved', 'busy'].includes(fault)) throw serviceErrors.DATABASE_AWAY({ reason });
    throw (isDenied(error) ? serviceErrors.DATABASE_DENIED : serviceErrors.DATABASE_REFUSED)({ reason });
  } finally {
    await link?.close();
  }
}

export function dsnOf(service: AnyService, configured: Configured): string {
  const dsn = service.migrations?.dsn(configured.values as never);
  if (dsn !== undefined) return dsn;
  const [name = 'PG_DSN', ...others] = [...Object.keys(service.aliases ?? {}), 'PG_DSN'].filter(
    (one) => (service.aliases?.[one] ?? one) === 'PG_DSN',
  );
  throw errors.CONFIG({ problems: [`${name}${others.map((other) => ` (or ${other})`).join('')} must be set`] });
}
