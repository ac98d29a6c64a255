/**
 * The Postgres of the local stack without a docker engine: a real server, and the init scripts laid out as docker-compose.yml
 * mounts them, run by psql as the image's entry point does.
 */
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { ensureCommand } from '../servers/apt.ts';
import { fastSettings, startPostgres } from '../servers/postgres.ts';
import { runProgram, type TestScope, temporaryFolder } from '../servers/process.ts';

export const deployFolder: string = join(import.meta.dirname, '..', '..', 'deploy');
const INIT = '/docker-entrypoint-initdb.d/';

interface Compose {
  readonly services: Readonly<Record<string, { readonly volumes?: readonly string[] }>>;
}

export interface LocalPostgres {
  /** Superuser. */
  readonly dsn: string;
  /** The same server and database as another role of init.sql. */
  as(role: 'ringmain' | 'analyst'): string;
}

/** Starts a server of our own and applies what the compose file mounts for its first start. */
export async function startLocalPostgres(t: TestScope, port: number): Promise<LocalPostgres> {
  const pg = await startPostgres(t, { port, own: true, settings: { ...fastSettings } });
  await ensureCommand('psql', 'postgresql-client');
  const compose = join(deployFolder, 'local', 'docker-compose.yml');
  const { services } = parse(readFileSync(compose, 'utf8')) as Compose;
  const { folder, remove } = temporaryFolder('ringmain-init-');
  t.onTestFinished(remove);
  for (const volume of services['postgres']?.volumes ?? []) {
    const [source = '', target = ''] = volume.split(':');
    if (!target.startsWith(INIT)) continue;
    const to = join(folder, target.slice(INIT.length));
    mkdirSync(dirname(to), { recursive: true });
    cpSync(resolve(dirname(compose), source), to, { recursive: true });
  }
  const flags = ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', join(folder, 'init.sql')];
  await runProgram('psql', [...flags, pg.dsn]);
  return {
    dsn: pg.dsn,
    as: (role) => {
      const url = new URL(pg.dsn);
      url.username = role;
      url.password = `${role}-local`;
      return url.href;
    },
  };
}
