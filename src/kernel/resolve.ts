/** Resolve: what the names of a configuration mean to this host, for `ringmain doctor`. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { error, type Finding, ok } from './finding.ts';

/** Looks a name up as a connection would. Undefined for an address, which needs no look-up. */
export async function resolveFinding(host: string, option: string): Promise<Finding | undefined> {
  if (isIP(host) !== 0 || host.startsWith('/')) return undefined;
  try {
    const found = await lookup(host, { all: true });
    return ok(`${host} is ${found.map(({ address }) => address).join(', ')}`);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
    return error(
      `the name ${host} cannot be resolved (${code})`,
      `Correct ${option}, or the name service of this host.`,
    );
  }
}
