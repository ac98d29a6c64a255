/** Accepting without HTTP, for tests: messages as they come out of a request, and the rules of a group. */
import { acceptGroup, type GroupRules } from '../../../src/sms/accept/group.ts';
import { readWanted, type Wanted } from '../../../src/sms/accept/wanted.ts';
import { UlidMaker, ulidMs } from '../../../src/sms/message/ulid.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { TestScope } from '../../servers/process.ts';

export const wantedOf = (customerId: string, more: Readonly<Record<string, unknown>> = {}): Wanted =>
  readWanted({ to: '+989121234567', text: 'hello', ...more }, customerId, '', {
    maxMessageLength: 1600,
    validityS: 3600,
  });

export function rulesOf(more: Partial<GroupRules> = {}): GroupRules {
  return {
    costPer: 'message',
    costPerSms: 1,
    backlogLimit: 1_000_000,
    carries: () => true,
    ids: new UlidMaker(),
    nowMs: Date.now(),
    timeOf: (id) => ulidMs(id)!,
    ...more,
  };
}

export async function pipelined(t: TestScope, dsn: string): Promise<PostgresLink> {
  const link = await openLink(dsn, { pipeline: true });
  t.onTestFinished(() => link.close());
  return link;
}

export { acceptGroup };
