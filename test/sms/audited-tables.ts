/** Tables of a test file that works with money: empty before each test, and audited behind it. */
import { afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { audit } from '../../src/sms/money/audit.ts';
import type { PostgresServer } from '../servers/postgres.ts';
import { fileScope } from '../servers/scope.ts';
import { emptyTables, openLink, type PostgresLink, startDatabase } from './database.ts';

/** Call it at the top of the file. `started` gets the server and a session of the file's. */
export function auditedTables(port: number, started: (server: PostgresServer, link: PostgresLink) => void): void {
  const file = fileScope();
  let server: PostgresServer;
  // A session for each look: a test may kill the server.
  const looking = async <T>(look: (link: PostgresLink) => Promise<T>): Promise<T> => {
    const link = await openLink(server.dsn);
    try {
      return await look(link);
    } finally {
      await link.close();
    }
  };
  beforeAll(async () => {
    server = await startDatabase(file, port);
    const link = await openLink(server.dsn);
    file.onTestFinished(() => link.close());
    started(server, link);
  });
  beforeEach(() => looking(emptyTables));
  afterEach(async () => {
    expect((await looking(audit)).differences).toEqual([]);
  });
}
