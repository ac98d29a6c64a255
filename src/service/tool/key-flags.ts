/** Flags of commands that make keys and links. */
import { type KeyEnv, keyEnvs } from '../../access/api-key.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { DatabaseTool } from './database-tool.ts';
import { usage } from './flags.ts';

export const keyName = { name: { value: 'TEXT', text: 'what people call it, up to 255 characters' } };
export const keyEnv = { env: { value: 'live|test', text: 'the word that stands in it; live by default' } };
export const expiry = {
  expires: { value: 'TIME', text: 'when it ends: after 12h or 90d, or at a time like 2027-01-31T00:00:00Z' },
};

/** The word of --env. */
export function envOf(tool: DatabaseTool): KeyEnv {
  const text = tool.flag('env') ?? 'live';
  const found = keyEnvs.find((one) => one === text);
  if (found !== undefined) return found;
  throw usage(`--env must be ${keyEnvs.join(' or ')}: found=${text}`);
}

/** The time of --expires; undefined when it is not given. */
export async function expiryOf(tool: DatabaseTool, link: PostgresLink): Promise<Date | undefined> {
  const text = tool.flag('expires');
  return text === undefined ? undefined : endOf(link, text);
}

const TIME = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/;

/** When a key or a link ends, by the clock of the database. */
export async function endOf(link: PostgresLink, text: string): Promise<Date> {
  const [, count, unit] = /^(\d{1,6})([hd])$/.exec(text) ?? [];
  const { rows } = await link.query<{ now: Date }>('SELECT now()');
  const now = rows[0]!.now.getTime();
  const hours = Number(count) * (unit === 'd' ? 24 : 1);
  const end = unit === undefined ? (TIME.test(text) ? Date.parse(text) : Number.NaN) : now + hours * 3_600_000;
  if (end > now) return new Date(end);
  throw usage(`--expires must be in the future, like 12h, 90d or 2027-01-31T00:00:00Z: found=${text}`);
}
