/** Tool `ringmain gateway user`: the users of the gateway. Running gateways follow within a second (registry/). */
import { exitCodes } from '../../kernel/errors.ts';
import type { AnyService } from '../../service/contract.ts';
import { listAudit } from '../../service/database/audit.ts';
import { type DatabaseCommand, type DatabaseTool, exits, runDatabaseTool } from '../../service/tool/database-tool.ts';
import { given, json, lines, linesOf, switchOf, usage } from '../../service/tool/flags.ts';
import { printJson, say, showList, showOne } from '../../service/tool/output.ts';
import { addUser, changeUser, findUser, listUsers, removeUser, USERS_MAX, userIdOf } from '../database/admin/users.ts';
import { actor, rateText } from './parts.ts';

const commands = {
  add: {
    takes: 'NAME EMAIL',
    words: [2, 2],
    summary: 'adds a user',
    about: 'Adds a user, who may do nothing until there is a key: ringmain gateway key add NAME.',
    flags: json,
    exits: exits('added'),
    example: 'ringmain gateway user add ada ada@example.com',
    run: add,
  },
  list: {
    takes: '',
    words: [0, 0],
    summary: 'lists the users',
    about: 'Lists users: state, keys that work, limits, networks.',
    flags: { ...json, search: { value: 'TEXT', text: 'only those whose name or email has this text' } },
    exits: exits('listed'),
    example: 'ringmain gateway user list --json',
    run: list,
  },
  show: {
    takes: 'USER',
    words: [1, 1],
    summary: 'shows all about a user, as JSON',
    about: 'Shows a user with limits, quota and networks, as JSON. USER is a name, or an id.',
    exits: exits('shown'),
    example: 'ringmain gateway user show ada',
    run: show,
  },
  change: {
    takes: 'USER',
    words: [1, 1],
    summary: 'changes name, email or state of a user',
    about: 'Changes what is given. The keys of a user who is not active are answered 403.',
    flags: {
      username: { value: 'NAME', text: 'another name' },
      email: { value: 'EMAIL', text: 'another address' },
      active: { value: 'yes|no', text: 'whether the keys of the user work' },
    },
    exits: exits('changed'),
    example: 'ringmain gateway user change ada --active=no',
    run: change,
  },
  rm: {
    takes: 'USER --yes',
    words: [1, 1],
    summary: 'removes a user with all keys',
    about: `Removes a user, the keys, limits, quota and ownership of uploads; what was logged and used stays. Without --yes it
only says what it would remove.`,
    flags: { yes: { value: '', text: 'do it' } },
    exits: exits('removed', 'there is no such user, or --yes is missing'),
    example: 'ringmain gateway user rm ada --yes',
    run: remove,
  },
  audit: {
    takes: '',
    words: [0, 0],
    summary: 'lists changes by administrators, the newest first',
    about: 'Lists what was done to users, keys, limits and backends, and by whom; the newest first.',
    flags: { ...json, ...lines },
    exits: exits('listed'),
    example: 'ringmain gateway user audit --lines=20',
    run: listChanges,
  },
} satisfies Record<string, DatabaseCommand>;

export const runUser = (service: AnyService, argv: readonly string[]): Promise<number> =>
  runDatabaseTool(
    service,
    {
      name: 'ringmain gateway user',
      about: 'Says who the users of the gateway are. Works beside running gateways, which follow within a second.',
      commands,
    },
    argv,
  );

async function add(tool: DatabaseTool): Promise<number> {
  const [username, email] = tool.words as [string, string];
  const user = await tool.onDatabase((link) => addUser(link, actor, { username, email }));
  showOne(tool, user, () => `${user.username} is user ${user.id}; a key: ringmain gateway key add ${user.username}`);
  return exitCodes.ok;
}

async function list(tool: DatabaseTool): Promise<number> {
  const { items } = await tool.onDatabase((link) =>
    listUsers(link, { limit: USERS_MAX, search: tool.flag('search') ?? '' }),
  );
  showList(tool, items, 'no users', [
    ['ID', ({ id }) => String(id)],
    ['USER', ({ username, is_active }) => (is_active ? username : `${username} (not active)`)],
    ['EMAIL', ({ email }) => email],
    ['KEYS', ({ keys }) => String(keys)],
    ['LIMITS', ({ limits }) => rateText(limits)],
    ['NETWORKS', ({ networks }) => (networks.length > 3 ? `${networks.length} networks` : networks.join(',') || '-')],
    ['ADDED', ({ created_at }) => created_at],
  ]);
  return exitCodes.ok;
}

async function show(tool: DatabaseTool): Promise<number> {
  const [name] = tool.words as [string];
  printJson(await tool.onDatabase(async (link) => findUser(link, await userIdOf(link, name))));
  return exitCodes.ok;
}

async function change(tool: DatabaseTool): Promise<number> {
  const [name] = tool.words as [string];
  const wanted = given({
    username: tool.flag('username'),
    email: tool.flag('email'),
    is_active: switchOf(tool, 'active'),
  });
  if (Object.keys(wanted).length === 0) throw usage('one of --username, --email and --active must be given');
  const user = await tool.onDatabase(async (link) => changeUser(link, actor, await userIdOf(link, name), wanted));
  say(`user ${user.id} is ${user.username} <${user.email}>, ${user.is_active ? 'active' : 'not active'}`);
  return exitCodes.ok;
}

async function remove(tool: DatabaseTool): Promise<number> {
  const [name] = tool.words as [string];
  return tool.onDatabase(async (link) => {
    const user = await findUser(link, await userIdOf(link, name));
    if (!tool.has('yes')) {
      say(`this would remove ${user.username} with ${user.keys} keys that work; --yes does it`);
      return exitCodes.failed;
    }
    await removeUser(link, actor, user.id);
    say(`${user.username} is removed`);
    return exitCodes.ok;
  });
}

async function listChanges(tool: DatabaseTool): Promise<number> {
  const count = linesOf(tool);
  const { items } = await tool.onDatabase((link) => listAudit(link, count));
  showList(tool, items, 'no changes', [
    ['TIME', (one) => one.at],
    ['ACTION', (one) => one.action],
    ['BY', (one) => one.actor],
    ['ADDRESS', (one) => one.client_ip ?? '-'],
    ['ABOUT', (one) => one.subject],
    ['DETAILS', (one) => JSON.stringify(one.details)],
  ]);
  return exitCodes.ok;
}
