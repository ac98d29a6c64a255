/** Tools `ringmain gateway limits`, `quota`, `networks` and `usage`: what a user may do, and what it has done. */
import { exitCodes } from '../../kernel/errors.ts';
import { type DatabaseTool, exits, singleCommand } from '../../service/tool/database-tool.ts';
import { countOf, given, json, usage } from '../../service/tool/flags.ts';
import { print, say, showList } from '../../service/tool/output.ts';
import type { QuotaLimits } from '../database/admin/contract.ts';
import { setLimits, setNetworks, setQuota } from '../database/admin/limits.ts';
import { readUsage } from '../database/admin/usage.ts';
import { findUser, userIdOf } from '../database/admin/users.ts';
import { actor, rateFlags, ratesOf, rateText, wordsOf } from './parts.ts';

const shows = 'Without flags it shows what is in force. USER is a name, or an id.';
const shownOrChanged = exits('shown or changed');

export const runLimits = singleCommand('ringmain gateway', 'limits', {
  takes: 'USER',
  words: [1, 1],
  summary: 'sets the limits of a user',
  about: `Sets how often a user may ask, over all keys; what is not given stays. ${shows}
A user without a limit per minute of its own has that of USER_REQUESTS_PER_MINUTE, whatever the limit per hour.`,
  flags: rateFlags,
  exits: shownOrChanged,
  example: 'ringmain gateway limits ada --requests-per-minute=600 --burst=50',
  async run(tool) {
    const changes = Object.keys(rateFlags).some((flag) => tool.flag(flag) !== undefined);
    const limits = await tool.onDatabase(async (link) => {
      const { id, limits: before } = await findUser(link, await userIdOf(link, tool.words[0]!));
      return changes ? setLimits(link, actor, id, ratesOf(tool, before)) : before;
    });
    say(`limits of ${tool.words[0]}: ${rateText(limits)}`);
    return exitCodes.ok;
  },
});

const quotaFlags = {
  'monthly-requests': { value: 'N|none', text: 'requests in a month of UTC; none: no limit' },
  'monthly-bytes': { value: 'BYTES|none', text: 'bytes of answers in a month; none: no limit' },
  'storage-bytes': { value: 'BYTES|none', text: 'bytes of uploads; none: no limit' },
};

const quotaOf = (tool: DatabaseTool, before: QuotaLimits): QuotaLimits => ({
  ...before,
  ...given({
    monthly_requests: countOf(tool, 'monthly-requests'),
    monthly_bytes: countOf(tool, 'monthly-bytes'),
    storage_bytes: countOf(tool, 'storage-bytes'),
  }),
});

export const runQuota = singleCommand('ringmain gateway', 'quota', {
  takes: 'USER',
  words: [1, 1],
  summary: 'sets the quota of a user',
  about: `Sets what a user may use in a month, and store; what is not given stays. ${shows}`,
  flags: quotaFlags,
  exits: shownOrChanged,
  example: 'ringmain gateway quota ada --monthly-requests=100000 --monthly-bytes=10737418240',
  async run(tool) {
    const changes = Object.keys(quotaFlags).some((flag) => tool.flag(flag) !== undefined);
    const quota = await tool.onDatabase(async (link) => {
      const { id, quota: before } = await findUser(link, await userIdOf(link, tool.words[0]!));
      return changes ? setQuota(link, actor, id, quotaOf(tool, before)) : before;
    });
    const shown = Object.entries(quota).map(([name, value]) => `${name}=${value ?? 'none'}`);
    say(`quota of ${tool.words[0]}: ${shown.join(', ')}`);
    return exitCodes.ok;
  },
});

export const runNetworks = singleCommand('ringmain gateway', 'networks', {
  takes: 'USER [CIDR,...|none]',
  words: [1, 2],
  summary: 'sets the networks of a user',
  about: `Replaces the networks from where the keys of a user may be used, in CIDR notation; none: from everywhere. Without a
list it shows what is in force, one a line. Viewers of signed URLs are not bound by it.`,
  exits: shownOrChanged,
  example: 'ringmain gateway networks ada 10.0.0.0/8,2001:db8::/32',
  async run(tool) {
    const [user, list] = tool.words as [string, string | undefined];
    const networks = await tool.onDatabase(async (link) => {
      const { id, networks: before } = await findUser(link, await userIdOf(link, user));
      return list === undefined ? before : setNetworks(link, actor, id, wordsOf(list));
    });
    if (list !== undefined || networks.length === 0)
      say(
        networks.length === 0
          ? `${user} may come from everywhere`
          : `${user} may come from ${networks.length} networks`,
      );
    else print(networks.join('\n'));
    return exitCodes.ok;
  },
});

export const runUsage = singleCommand('ringmain gateway', 'usage', {
  takes: '[USER]',
  words: [0, 1],
  summary: 'shows what users have used in a month',
  about: 'Shows requests and bytes of answers of one user or of all, the most bytes first, beside the quota.',
  flags: { ...json, month: { value: 'YYYY-MM', text: 'a month of UTC; the present one by default' } },
  exits: exits('shown'),
  example: 'ringmain gateway usage ada --month=2027-01',
  async run(tool) {
    const month = tool.flag('month');
    if (month !== undefined && !/^\d{4}-(0[1-9]|1[0-2])$/.test(month))
      throw usage(`--month must be like 2027-01: found=${month}`);
    const [user] = tool.words;
    const rows = await tool.onDatabase(async (link) =>
      readUsage(link, month, user === undefined ? undefined : await userIdOf(link, user)),
    );
    showList(tool, rows, 'nothing was used', [
      ['USER', (row) => row.username ?? `${row.user_id} (removed)`],
      ['MONTH', (row) => row.month],
      ['REQUESTS', (row) => String(row.requests)],
      ['OF', (row) => String(row.monthly_requests ?? '-')],
      ['BYTES', (row) => String(row.bytes)],
      ['OF', (row) => String(row.monthly_bytes ?? '-')],
    ]);
    return exitCodes.ok;
  },
});
