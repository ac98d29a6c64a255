/**
 * Tool `ringmain site`: registers sites, makes and revokes their keys and share links. It works on the database alone,
 * beside running services or without any; those learn of a change within a second or two (site-registry.ts).
 */
import { meantKeyId } from '../../access/api-key.ts';
import { originProblem } from '../../http/cors.ts';
import { exitCodes } from '../../kernel/errors.ts';
import type { AnyService } from '../../service/contract.ts';
import { type DatabaseCommand, type DatabaseTool, exits, runDatabaseTool } from '../../service/tool/database-tool.ts';
import { choiceOf, json, usage } from '../../service/tool/flags.ts';
import { Interrupt } from '../../service/tool/interrupt.ts';
import { expiry, expiryOf } from '../../service/tool/key-flags.ts';
import { say, showList, showOnce } from '../../service/tool/output.ts';
import { Progress } from '../../service/tool/progress.ts';
import type { ToolInput } from '../../service/tool/secret.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { limits } from '../event.ts';
import { eraseSite } from './erase.ts';
import { settingsCommands, zoneOf } from './settings-command.ts';
import { shareCommands } from './share-command.ts';
import {
  addKey,
  addSite,
  countSites,
  listKeys,
  listSites,
  mustFind,
  renameSite,
  revokeKey,
  scopes,
  unregisterSite,
} from './sites.ts';

const FIRST = `While no site is registered, everybody may send and read. Once one is, events of unknown sites are refused.`;

const commands = {
  add: {
    takes: 'SITE_ID',
    words: [1, 1],
    summary: 'registers a site, or changes its settings',
    about: `Registers a site; one that is registered already gets the settings that are given, and keeps the others.
${FIRST}`,
    flags: {
      origin: {
        value: 'ORIGIN,...',
        text: 'pages that may send its events, like https://shop.example; *: every page; none: no list',
      },
      'time-zone': { value: 'ZONE', text: 'its time zone, for people who look at it: Europe/Berlin; UTC by default' },
      'retention-days': { value: 'DAYS', text: 'days that its raw events are kept; none: as RETENTION_DAYS says' },
    },
    exits: exits('it is registered'),
    example: 'ringmain site add shop.example --origin=https://shop.example --time-zone=Europe/Berlin',
    run: add,
  },
  list: {
    takes: '',
    words: [0, 0],
    summary: 'lists the registered sites',
    about: 'Lists the registered sites: origins, keys that work, settings and earlier names.',
    flags: { ...json, all: { value: '', text: 'also sites that only events have made' } },
    exits: exits('listed'),
    example: 'ringmain site list --json',
    run: list,
  },
  key: {
    takes: 'SITE_ID --scope=ingest|read',
    words: [1, 1],
    summary: 'makes a key of a site, and shows it this once',
    about: `Makes a key and writes it to standard output, this once: only a digest of it is kept (KEY_PEPPER). A key with the
scope ingest may send events, one with the scope read may read statistics. Once a site has had an ingest key,
it takes events only with a key or from one of its origins.`,
    flags: {
      scope: { value: 'ingest|read', text: 'what it is for' },
      label: { value: 'TEXT', text: 'what people call it, up to 100 characters' },
      ...expiry,
    },
    exits: exits('made'),
    example: 'ringmain site key shop.example --scope=ingest --label="shop server" --expires=365d',
    run: key,
  },
  keys: {
    takes: '[SITE_ID]',
    words: [0, 1],
    summary: 'lists the keys of a site, or of all sites',
    about: 'Lists keys by their ids: scope, state, times and label. A key itself is not shown again.',
    flags: json,
    exits: exits('listed'),
    example: 'ringmain site keys shop.example',
    run: keys,
  },
  revoke: {
    takes: 'KEY_ID',
    words: [1, 1],
    summary: 'revokes a key for good',
    about: 'Revokes a key by its id, which `ringmain site keys` shows. Services refuse it within a second or two.',
    exits: exits('it is revoked, or was before'),
    example: 'ringmain site revoke 9fK2mQx07TbA',
    run: revoke,
  },
  rm: {
    takes: 'SITE_ID --yes',
    words: [1, 1],
    summary: 'ends the registration of a site; with --data deletes its data',
    about: `Ends the registration: its keys, origins and settings are deleted. With --data, everything that is stored of it
as well, in batches: events, statistics, names; when that is cut short, run it again. Without --yes it only
says what it would delete.`,
    flags: { yes: { value: '', text: 'do it' }, data: { value: '', text: 'delete its events and statistics as well' } },
    exits: {
      ...exits('done', 'there is no such site, or --yes is missing'),
      130: 'interrupted by Ctrl-C (143: by SIGTERM)',
    },
    example: 'ringmain site rm shop.example --yes --data',
    run: remove,
  },
  rename: {
    takes: 'SITE_ID NEW_SITE_ID',
    words: [2, 2],
    summary: 'gives a site another name; the old one leads to it as well',
    about: `Gives a site another name, with all its data and keys. Events and questions under the old name still reach it.`,
    exits: exits('renamed'),
    example: 'ringmain site rename shop.example www.shop.example',
    run: rename,
  },
  ...settingsCommands,
  ...shareCommands,
} satisfies Record<string, DatabaseCommand>;

/** `input`: where the password of a share link comes from. */
export function runSite(
  service: AnyService,
  argv: readonly string[],
  input: ToolInput = process.stdin,
): Promise<number> {
  const about = `Registers the sites of ${service.name}, makes and revokes their keys and share links, sets time zones and goals. Works
beside running services.`;
  return runDatabaseTool(service, { name: 'ringmain site', about, commands }, argv, input);
}

/** As intake reads it: 1 to 100 characters, none of them a control character. */
export function siteIdOf(text: string): string {
  const { length } = [...text];
  if (length >= 1 && length <= limits.siteId && !/[\u0000-\u001F\u007F]/.test(text)) return text;
  throw usage(
    `a site id must be 1 to ${limits.siteId} characters, none of them a control character: found=${JSON.stringify(text)}`,
  );
}

async function add(tool: DatabaseTool): Promise<number> {
  const [name] = tool.words as [string];
  const settings = {
    origins: originsOf(tool.flag('origin')),
    timeZone: timeZoneOf(tool.flag('time-zone')),
    retentionDays: retentionOf(tool.flag('retention-days')),
  };
  return tool.onDatabase(async (link) => {
    const done = await addSite(link, siteIdOf(name), settings);
    say(
      { added: `${name} is registered`, changed: `${name} is changed`, unchanged: `${name} was registered before` }[
        done
      ],
    );
    if (done === 'added' && (await countSites(link)) === 1)
      say('it is the first: events of other sites are refused from now on, and statistics need a read key');
    return exitCodes.ok;
  });
}

function originsOf(flag: string | undefined): readonly string[] | undefined {
  if (flag === undefined) return undefined;
  if (flag === 'none') return [];
  const origins = [...new Set(flag.split(',').map((part) => part.trim()))];
  for (const origin of origins) {
    const problem = originProblem(origin);
    if (problem !== undefined) throw usage(`--origin: ${problem}`);
  }
  if (origins.includes('*') && origins.length > 1)
    throw usage(`--origin must be either * or a list without it: found=${flag}`);
  if (origins.length > 100) throw usage(`--origin takes at most 100 origins: found=${origins.length}`);
  return origins;
}

function timeZoneOf(flag: string | undefined): string | undefined {
  return flag === undefined ? undefined : zoneOf(flag, '--time-zone');
}

function retentionOf(flag: string | undefined): number | null | undefined {
  if (flag === undefined) return undefined;
  if (flag === 'none') return null;
  const days = /^\d{1,5}$/.test(flag) ? Number(flag) : 0;
  if (days >= 1 && days <= 36_500) return days;
  throw usage(`--retention-days must be a whole number from 1 to 36500, or none: found=${flag}`);
}

async function list(tool: DatabaseTool): Promise<number> {
  const sites = await tool.onDatabase((link) => listSites(link, tool.has('all')));
  showList(tool, sites, tool.has('all') ? 'no sites' : 'no site is registered: everybody may send and read', [
    ['SITE', (site) => (site.registered ? site.site_id : `${site.site_id} (not registered)`)],
    ['ORIGINS', (site) => site.origins.join(',') || '-'],
    ['INGEST KEYS', (site) => String(site.ingest_keys)],
    ['READ KEYS', (site) => String(site.read_keys)],
    ['TIME ZONE', (site) => site.time_zone],
    ['RETENTION', (site) => (site.retention_days === null ? '-' : `${site.retention_days} d`)],
    ['EARLIER NAMES', (site) => site.aliases.join(',') || '-'],
  ]);
  return exitCodes.ok;
}

async function key(tool: DatabaseTool): Promise<number> {
  const scope = choiceOf(tool, 'scope', scopes);
  const label = tool.flag('label') ?? '';
  if ([...label].length > 100) throw usage(`--label must be at most 100 characters: found=${[...label].length}`);
  const { pepper } = tool;
  const [name] = tool.words as [string];
  const made = await tool.onDatabase(async (link) =>
    addKey(link, pepper, name, { scope, label, expiresAt: await expiryOf(tool, link) }),
  );
  showOnce(`key ${made.id} of ${made.siteId} (${scope})`, made.text);
  return exitCodes.ok;
}

async function keys(tool: DatabaseTool): Promise<number> {
  const found = await tool.onDatabase((link) => listKeys(link, tool.words[0]));
  showList(tool, found, 'no keys', [
    ['KEY', (one) => one.key_id],
    ['SITE', (one) => one.site_id],
    ['SCOPE', (one) => one.scope],
    ['STATE', (one) => one.state],
    ['CREATED', (one) => one.created_at.toISOString()],
    ['EXPIRES', (one) => one.expires_at?.toISOString() ?? '-'],
    ['LABEL', (one) => one.label],
  ]);
  return exitCodes.ok;
}

async function revoke(tool: DatabaseTool): Promise<number> {
  const id = meantKeyId(tool.words[0]!);
  const { siteId, now } = await tool.onDatabase((link) => revokeKey(link, id));
  say(now ? `key ${id} of ${siteId} is revoked` : `key ${id} of ${siteId} was revoked before`);
  return exitCodes.ok;
}

async function remove(tool: DatabaseTool): Promise<number> {
  const [name] = tool.words as [string];
  const data = tool.has('data');
  return tool.onDatabase(async (link) => {
    if (!tool.has('yes')) {
      const { siteId } = await inTransaction(link, () => mustFind(link, name));
      const works = (await listKeys(link, name)).filter(({ state }) => state === 'valid').length;
      const what = data ? ', and everything that is stored of it: events, statistics, names' : '; its data stays';
      say(`this would end the registration of ${siteId} with ${works} keys that work${what}; --yes does it`);
      return exitCodes.failed;
    }
    const { site } = await unregisterSite(link, name);
    say(`${name} is not registered any more`);
    if ((await countSites(link)) === 0) say('no site is registered now: everybody may send and read');
    return data ? erase(link, name, site) : exitCodes.ok;
  });
}

async function erase(link: PostgresLink, name: string, site: number): Promise<number> {
  const interrupt = new Interrupt();
  const progress = new Progress(`delete ${name}`, 0, 'events');
  try {
    const { rows, whole } = await eraseSite(link, site, {
      progress: (gone) => progress.at(gone),
      ended: () => interrupt.wanted,
    });
    progress.clear();
    say(
      whole ? `${rows} rows of ${name} are deleted` : `interrupted after ${rows} rows; run it again to delete the rest`,
    );
    return whole ? exitCodes.ok : interrupt.exit;
  } finally {
    progress.clear();
    interrupt.close();
  }
}

async function rename(tool: DatabaseTool): Promise<number> {
  const [from, to] = tool.words as [string, string];
  await tool.onDatabase((link) => renameSite(link, from, siteIdOf(to)));
  say(`${from} is called ${to} now; ${from} leads to it as well`);
  return exitCodes.ok;
}
