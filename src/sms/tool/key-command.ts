import { exitCodes } from '../../kernel/errors.ts';
import type { AnyService } from '../../service/contract.ts';
import { type DatabaseCommand, type DatabaseTool, exits, runDatabaseTool } from '../../service/tool/database-tool.ts';
import { json } from '../../service/tool/flags.ts';
import { revokeBy, rotateBy, rotationFlags } from '../../service/tool/key-commands.ts';
import { envOf, expiry, expiryOf, keyEnv, keyName } from '../../service/tool/key-flags.ts';
import { printJson, showList, showOnce } from '../../service/tool/output.ts';
import { addKey, listKeys, revokeKey, rotateKey } from '../customers/keys.ts';
import type { MadeKey } from '../customers/views.ts';
import { actor } from './customer-command.ts';

const rotate = (tool: DatabaseTool): Promise<number> =>
  rotateBy(tool, (link, ...how) => rotateKey(link, actor, ...how), showMade);
const revoke = (tool: DatabaseTool): Promise<number> => revokeBy(tool, (link, id) => revokeKey(link, actor, id));

const commands = {
  add: {
    takes: 'CUSTOMER',
    words: [1, 1],
    summary: 'makes a key of a customer, and shows it this once',
    about: `Makes a key. It is written to standard output, this once: only a digest of it is kept (KEY_PEPPER). With --json
it stands in an object with the rest.`,
    flags: { ...json, ...keyName, ...keyEnv, ...expiry },
    exits: exits('made'),
    example: 'ringmain sms key add acme --name="shop server" --expires=365d',
    run: add,
  },
  list: {
    takes: 'CUSTOMER',
    words: [1, 1],
    summary: 'lists the keys of a customer',
    about: 'Lists keys by their ids with state and times. A key itself is not shown again.',
    flags: json,
    exits: exits('listed'),
    example: 'ringmain sms key list acme',
    run: list,
  },
  rotate: {
    takes: 'KEY_ID',
    words: [1, 1],
    summary: 'gives a key another secret, and shows it this once',
    about: `Gives a key another secret; the one before stays good for the overlap, so that programs can be changed one after
the other. It is written to standard output, this once, as by add.`,
    flags: rotationFlags('the old one ends'),
    exits: exits('rotated'),
    example: 'ringmain sms key rotate 9fK2mQx07TbA --overlap=86400',
    run: rotate,
  },
  revoke: {
    takes: 'KEY_ID',
    words: [1, 1],
    summary: 'revokes a key for good',
    about: 'Revokes a key by its id. Running processes refuse it within a second.',
    exits: exits('it is revoked, or was before'),
    example: 'ringmain sms key revoke 9fK2mQx07TbA',
    run: revoke,
  },
} satisfies Record<string, DatabaseCommand>;

export const runKey = (service: AnyService, argv: readonly string[]): Promise<number> =>
  runDatabaseTool(
    service,
    {
      name: 'ringmain sms key',
      about: 'Makes, rotates and revokes keys. Works beside running processes, which follow within a second.',
      commands,
    },
    argv,
  );

function showMade(tool: DatabaseTool, made: MadeKey): void {
  if (tool.has('json')) printJson(made);
  else showOnce(`key ${made.id}`, made.key);
}

async function add(tool: DatabaseTool): Promise<number> {
  const [customer] = tool.words as [string];
  const { pepper } = tool;
  const env = envOf(tool);
  const name = tool.flag('name') ?? '';
  const made = await tool.onDatabase(async (link) => {
    const ends = await expiryOf(tool, link);
    return addKey(link, actor, pepper, customer, { name, env, expires_at: ends?.toISOString() ?? null });
  });
  showMade(tool, made);
  return exitCodes.ok;
}

async function list(tool: DatabaseTool): Promise<number> {
  const found = await tool.onDatabase((link) => listKeys(link, tool.words[0]!));
  showList(tool, found, 'no keys', [
    ['KEY', ({ id }) => id],
    [
      'STATE',
      ({ state, previous_until: until }) => (until === null ? state : `${state}, the old secret until ${until}`),
    ],
    ['CREATED', ({ created_at }) => created_at],
    ['EXPIRES', ({ expires_at }) => expires_at ?? '-'],
    ['NAME', ({ name }) => name],
  ]);
  return exitCodes.ok;
}
