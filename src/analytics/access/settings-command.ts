/** `ringmain site zone` and `ringmain site goal`: settings of a site, registered or not, that the dashboard shows. */
import { exitCodes } from '../../kernel/errors.ts';
import { type DatabaseTool, exits } from '../../service/tool/database-tool.ts';
import { usage } from '../../service/tool/flags.ts';
import { print, printJson, say } from '../../service/tool/output.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { analyticsErrors } from '../errors.ts';
import { addGoal, badGoal, type GoalKind, type GoalRow, goalKinds, listGoals, removeGoal } from './goals.ts';
import { mustFind } from './sites.ts';

const done = exits('done', 'refused: no such site or goal, or a name that is taken');

/**
 * The IANA name in its own spelling; a newer name (Asia/Kathmandu) is kept, though ICU knows an older one. Throws
 * USAGE.
 */
export function zoneOf(text: string, what: string): string {
  try {
    // Offsets like +01:00 are no zones: they have no daylight-saving time.
    if (/^[A-Za-z]/.test(text)) {
      const known = new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone;
      return known.toLowerCase() === text.toLowerCase() ? known : text;
    }
  } catch {
    // A RangeError: no zone of that name.
  }
  throw usage(`${what} must be a name of the IANA database, like Europe/Berlin: found=${text}`);
}

export const settingsCommands = {
  zone: {
    takes: 'SITE_ID ZONE',
    words: [2, 2] as const,
    summary: 'sets the time zone of a site',
    about: `Sets the time zone that the days of a site are shown in. Statistics are right at once, also those of the past: they
are kept in quarters of an hour.`,
    exits: done,
    example: 'ringmain site zone shop.example Asia/Kathmandu',
    run: zone,
  },
  goal: {
    takes: 'add SITE_ID | list SITE_ID | rm SITE_ID NAME',
    words: [2, 3] as const,
    summary: 'adds, lists and removes goals of a site',
    about: `A goal is what a site wants its visitors to do: an event of a type (--event), or a page whose path fits a pattern
(--path; * is any text without /, ** any text). Conversions of the past are counted as well.`,
    flags: {
      event: { value: 'TYPE', text: 'with add: events of this type' },
      path: { value: 'PATTERN', text: 'with add: pages like /thanks or /blog/**' },
      name: { value: 'TEXT', text: 'with add: what it is called; the type or the pattern by default' },
      json: { value: '', text: 'with list: as JSON' },
    },
    exits: done,
    example: 'ringmain site goal add shop.example --event=purchase --name=Purchase',
    run: goal,
  },
};

async function zone(tool: DatabaseTool): Promise<number> {
  const [name, text] = tool.words as [string, string];
  const timeZone = zoneOf(text, 'the time zone');
  await tool.onDatabase(async (link) => {
    const { site, siteId } = await inTransaction(link, () => mustFind(link, name));
    await link.query('UPDATE sites SET time_zone = $2 WHERE site = $1', [site, timeZone]);
    say(`days of ${siteId} are those of ${timeZone}`);
  });
  return exitCodes.ok;
}

async function goal(tool: DatabaseTool): Promise<number> {
  const [action, name, ...rest] = tool.words as [string, string, ...string[]];
  if (rest.length !== (action === 'rm' ? 1 : 0) || !['add', 'list', 'rm'].includes(action))
    throw usage(`ringmain site goal takes ${settingsCommands.goal.takes}: found=${tool.words.join(' ')}`);
  const wanted = action === 'add' ? goalOf(tool) : undefined;
  return tool.onDatabase(async (link) => {
    const { site, siteId } = await inTransaction(link, () => mustFind(link, name));
    if (wanted !== undefined) {
      const made = await addGoal(link, site, wanted);
      if ('must' in made)
        throw analyticsErrors.SITE_REFUSED({ reason: `the name must ${made.must}: found=${wanted.name}` });
      say(`${siteId} has the goal ${made.name}`);
      return exitCodes.ok;
    }
    const goals = await listGoals(link, site);
    if (action === 'list') {
      showGoals(goals, tool.has('json'));
      return exitCodes.ok;
    }
    const found = goals.find((one) => one.name === rest[0]);
    if (found === undefined || !(await removeGoal(link, site, found.id)))
      throw analyticsErrors.SITE_REFUSED({ reason: `there is no such goal: site=${siteId}, goal=${rest[0]}` });
    say(`${siteId} has the goal ${found.name} no more`);
    return exitCodes.ok;
  });
}

function goalOf(tool: DatabaseTool): { kind: GoalKind; match: string; name: string } {
  const given = goalKinds.filter((kind) => tool.flag(kind) !== undefined);
  const [kind] = given;
  if (kind === undefined || given.length > 1) throw usage('a goal must have either --event or --path');
  const match = tool.flag(kind)!;
  const made = { kind, match, name: tool.flag('name') ?? match };
  const bad = badGoal(made);
  if (bad !== undefined) throw usage(`${bad[0] === 'name' ? '--name' : `--${kind}`} must ${bad[1]}`);
  return made;
}

function showGoals(goals: readonly GoalRow[], asJson: boolean): void {
  if (asJson) printJson(goals);
  else if (goals.length === 0) say('no goals');
  else for (const { kind, match, name } of goals) print(`${name}  (${kind} ${match})`);
}
