/**
 * Standing: what the start of the api asks the database before anybody can reach it. A dashboard that everybody could
 * open is refused unless ACCESS=open says that it is meant, or only this machine reaches it.
 */
import { isLoopback } from '../../http/endpoint.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { countSites } from '../access/sites.ts';
import type { AnalyticsValues } from '../analytics.ts';
import { countUsers } from './users.ts';

type Values = Pick<AnalyticsValues, 'http' | 'analytics' | 'postgres'>;

export async function dashboardProblems({ http, analytics, postgres }: Values): Promise<readonly string[]> {
  const { serverAddr } = http;
  if (analytics.access === 'open' || isLoopback(serverAddr) || postgres.pgDsn === undefined) return [];
  const link = await openLink(postgres.pgDsn, { applicationName: 'ringmain-analytics-start' });
  try {
    return await openProblems(link, serverAddr);
  } finally {
    await link.close();
  }
}

async function openProblems(link: PostgresLink, serverAddr: string): Promise<readonly string[]> {
  if ((await countUsers(link)) > 0 || (await countSites(link)) > 0) return [];
  return [
    `everybody who reaches ${serverAddr} could look at the dashboard, because there is neither a user nor a registered ` +
      'site yet: add a user (ringmain analytics user add NAME), or register a site (ringmain site add SITE_ID), or say ' +
      'ACCESS=open when everybody may look; on a loopback address (SERVER_ADDR=127.0.0.1:8080) it may stay as it is',
  ];
}
