/**
 * Tool `ringmain analytics user`: who may log in to the dashboard. It works on the database alone, beside running
 * services or without any; those follow within a second or two (desk.ts).
 */
import { exitCodes } from '../../kernel/errors.ts';
import type { AnyService } from '../../service/contract.ts';
import { type DatabaseCommand, type DatabaseTool, exits, runDatabaseTool } from '../../service/tool/database-tool.ts';
import { choiceOf, json, lines, linesOf, usage } from '../../service/tool/flags.ts';
import { say, showList } from '../../service/tool/output.ts';
import type { ToolInput } from '../../service/tool/secret.ts';
import { newPassword } from '../access/share-command.ts';
import { auditLines } from './audit.ts';
import {
  addUser,
  countUsers,
  listUsers,
  removeUser,
  roles,
  setDisabled,
  setPassword,
  setRole,
  userNameProblem,
} from './users.ts';

const NAME = 'ringmain analytics user';
const ROLES = 'An owner sees all sites and changes goals, settings and share links; a viewer sees all sites.';
const PASSWORD = 'The password is asked for without an echo, or is the first line of standard input.';
const role = { role: { value: 'owner|viewer', text: 'what the user may do' } };

const commands = {
  add: {
    takes: 'NAME',
    words: [1, 1],
    summary: 'adds a user, who may log in from then on',
    about: `Adds a user: an address of mail or any other name. ${PASSWORD}
${ROLES} The first user closes a dashboard that was open to
everybody on this machine.`,
    flags: { role: { value: 'owner|viewer', text: 'what the user may do; owner by default' } },
    exits: exits('added'),
    example: 'ringmain analytics user add ada@example.com --role=owner < password.txt',
    run: add,
  },
  list: {
    takes: '',
    words: [0, 0],
    summary: 'lists the users',
    about: 'Lists users: role, logins that last, when they were added and have last logged in.',
    flags: json,
    exits: exits('listed'),
    example: 'ringmain analytics user list --json',
    run: list,
  },
  password: {
    takes: 'NAME',
    words: [1, 1],
    summary: 'gives a user another password, and ends all logins',
    about: `Gives a user another password; all logins of the user end. ${PASSWORD}`,
    exits: exits('changed'),
    example: 'ringmain analytics user password ada@example.com',
    run: password,
  },
  role: {
    takes: 'NAME --role=owner|viewer',
    words: [1, 1],
    summary: 'gives a user another role',
    about: `Gives a user another role, also in logins that last.\n${ROLES}`,
    flags: role,
    exits: exits('changed'),
    example: 'ringmain analytics user role ada@example.com --role=viewer',
    run: changeRole,
  },
  disable: {
    takes: 'NAME',
    words: [1, 1],
    summary: 'keeps a user from logging in, and ends all logins',
    about: 'Keeps a user from logging in, and ends all logins of the user; `enable` takes it back.',
    exits: exits('disabled'),
    example: 'ringmain analytics user disable ada@example.com',
    run: (tool) => ably(tool, true),
  },
  enable: {
    takes: 'NAME',
    words: [1, 1],
    summary: 'lets a user log in again',
    about: 'Lets a user log in again who was disabled.',
    exits: exits('enabled'),
    example: 'ringmain analytics user enable ada@example.com',
    run: (tool) => ably(tool, false),
  },
  rm: {
    takes: 'NAME',
    words: [1, 1],
    summary: 'removes a user, and ends all logins',
    about: 'Removes a user for good; all logins of the user end. What the user did stays in the audit lines.',
    exits: exits('removed'),
    example: 'ringmain analytics user rm ada@example.com',
    run: remove,
  },
  audit: {
    takes: '',
    words: [0, 0],
    summary: 'lists logins and changes of access, the newest first',
    about: `Lists audit lines, the newest first: logins that succeeded and failed, logouts, changes of users, roles, keys
and share links. Of an address only its network is kept.`,
    flags: { ...json, ...lines },
    exits: exits('listed'),
    example: 'ringmain analytics user audit --lines=20',
    run: listAudit,
  },
} satisfies Record<string, DatabaseCommand>;

/** `input`: where passwords come from. */
export function runUser(
  service: AnyService,
  argv: readonly string[],
  input: ToolInput = process.stdin,
): Promise<number> {
  const about = 'Says who may log in to the dashboard, and as what. Works beside running services.';
  return runDatabaseTool(service, { name: NAME, about, commands }, argv, input);
}

async function add(tool: DatabaseTool): Promise<number> {
  const [name] = tool.words as [string];
  const problem = userNameProblem(name);
  if (problem !== undefined) throw usage(problem);
  const given = choiceOf(tool, 'role', roles, 'owner');
  const digest = await newPassword(tool, `password of ${name}`);
  return tool.onDatabase(async (link) => {
    await addUser(link, name, given, digest);
    say(`${name} may log in as ${given}`);
    if ((await countUsers(link)) === 1) say('it is the first user: the dashboard asks for a login from now on');
    return exitCodes.ok;
  });
}

async function list(tool: DatabaseTool): Promise<number> {
  showList(tool, await tool.onDatabase(listUsers), 'no users', [
    ['USER', (one) => (one.disabled ? `${one.name} (disabled)` : one.name)],
    ['ROLE', (one) => one.role],
    ['LOGINS', (one) => String(one.sessions)],
    ['ADDED', (one) => one.created_at.toISOString()],
    ['LAST LOGIN', (one) => one.last_login_at?.toISOString() ?? '-'],
  ]);
  return exitCodes.ok;
}

async function password(tool: DatabaseTool): Promise<number> {
  const [name] = tool.words as [string];
  const digest = await newPassword(tool, `new password of ${name}`);
  say(
    `${await tool.onDatabase((link) => setPassword(link, name, digest))} has another password; all logins have ended`,
  );
  return exitCodes.ok;
}

async function changeRole(tool: DatabaseTool): Promise<number> {
  const [name] = tool.words as [string];
  const given = choiceOf(tool, 'role', roles);
  say(`${await tool.onDatabase((link) => setRole(link, name, given))} is ${given} now`);
  return exitCodes.ok;
}

async function ably(tool: DatabaseTool, disabled: boolean): Promise<number> {
  const [name] = tool.words as [string];
  const kept = await tool.onDatabase((link) => setDisabled(link, name, disabled));
  say(disabled ? `${kept} cannot log in any more; all logins have ended` : `${kept} may log in again`);
  return exitCodes.ok;
}

async function remove(tool: DatabaseTool): Promise<number> {
  const [name] = tool.words as [string];
  return tool.onDatabase(async (link) => {
    say(`${await removeUser(link, name)} is removed; all logins have ended`);
    if ((await countUsers(link)) === 0) say('there is no user any more');
    return exitCodes.ok;
  });
}

async function listAudit(tool: DatabaseTool): Promise<number> {
  const count = linesOf(tool);
  const found = await tool.onDatabase((link) => auditLines(link, count));
  showList(tool, found, 'no audit lines', [
    ['TIME', (one) => one.at.toISOString()],
    ['ACTION', (one) => one.action],
    ['BY', (one) => one.actor ?? '-'],
    ['NETWORK', (one) => one.network ?? '-'],
    ['ABOUT', (one) => one.subject ?? '-'],
  ]);
  return exitCodes.ok;
}
