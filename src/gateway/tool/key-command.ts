/** Tools `ringmain gateway key` and `ringmain gateway sign`: keys of users, and URLs that are signed by them. */
import { meantKeyId } from '../../access/api-key.ts';
import { exitCodes } from '../../kernel/errors.ts';
import type { AnyService } from '../../service/contract.ts';
import { serviceErrors } from '../../service/errors.ts';
import {
  type DatabaseCommand,
  type DatabaseTool,
  exits,
  runDatabaseTool,
  singleCommand,
} from '../../service/tool/database-tool.ts';
import { given, json, usage } from '../../service/tool/flags.ts';
import { revokeBy, rotateBy, rotationFlags } from '../../service/tool/key-commands.ts';
import { endOf, envOf, expiry, expiryOf, keyEnv, keyName } from '../../service/tool/key-flags.ts';
import { print, printJson, say, showList, showOne } from '../../service/tool/output.ts';
import type { MadeKey } from '../database/admin/contract.ts';
import { addKey, changeKey, findKey, listKeys, revokeKey, rotateKey } from '../database/admin/keys.ts';
import { userIdOf } from '../database/admin/users.ts';
import type { GatewayValues } from '../gateway.ts';
import { pictureProblem, Sources } from '../images/sources.ts';
import { signingKeyOf, signTarget, targetProblem } from '../keys/signing.ts';
import { type Scope, scopes } from '../model.ts';
import { actor, rateFlags, ratesOf, rateText, wordsOf } from './parts.ts';

const SHOWN = `The key is written to standard output and the signing key to standard error, this once: only a digest of the
key is kept (KEY_PEPPER). With --json both stand in one object on standard output.`;
const SIGNED = '1h';

const rotate = (tool: DatabaseTool): Promise<number> =>
  rotateBy(tool, (link, ...how) => rotateKey(link, actor, ...how), showMade);
const revoke = (tool: DatabaseTool): Promise<number> => revokeBy(tool, (link, id) => revokeKey(link, actor, id));

const commands = {
  add: {
    takes: 'USER',
    words: [1, 1],
    summary: 'makes a key of a user, and shows it this once',
    about: `Makes a key. ${SHOWN}`,
    flags: {
      ...json,
      ...keyName,
      scopes: { value: 'SCOPE,...', text: `what it may do: ${scopes.join(', ')}; read,upload by default` },
      ...keyEnv,
      ...expiry,
      networks: { value: 'CIDR,...', text: 'from where it may be used; left out: from everywhere' },
      ...rateFlags,
    },
    exits: exits('made'),
    example: 'ringmain gateway key add ada --name="shop server" --scopes=read --expires=365d',
    run: add,
  },
  list: {
    takes: 'USER',
    words: [1, 1],
    summary: 'lists the keys of a user',
    about: 'Lists keys by their ids: scopes, state, limits, times. A key itself is not shown again.',
    flags: json,
    exits: exits('listed'),
    example: 'ringmain gateway key list ada',
    run: list,
  },
  change: {
    takes: 'KEY_ID',
    words: [1, 1],
    summary: 'changes what a key may do, and for how long',
    about: 'Changes what is given; the key itself stays as it is. One that has expired works again with a later end.',
    flags: {
      ...json,
      ...keyName,
      scopes: { value: 'SCOPE,...', text: `what it may do: ${scopes.join(', ')}` },
      expires: { value: 'TIME|none', text: 'when it ends: after 12h or 90d, or at a time; none: never' },
      networks: { value: 'CIDR,...|none', text: 'from where it may be used; none: from everywhere' },
      ...rateFlags,
    },
    exits: exits('changed'),
    example: 'ringmain gateway key change 9fK2mQx07TbA --scopes=read --expires=90d',
    run: change,
  },
  rotate: {
    takes: 'KEY_ID',
    words: [1, 1],
    summary: 'gives a key another secret, and shows it this once',
    about: `Gives a key another secret and another signing key; those before stay good for the overlap, so that programs can
be changed one after the other. ${SHOWN}`,
    flags: rotationFlags('the old ones end'),
    exits: exits('rotated'),
    example: 'ringmain gateway key rotate 9fK2mQx07TbA --overlap=86400',
    run: rotate,
  },
  revoke: {
    takes: 'KEY_ID',
    words: [1, 1],
    summary: 'revokes a key for good',
    about: 'Revokes a key by its id, with all URLs that are signed by it. Gateways refuse it within a second.',
    exits: exits('it is revoked, or was before'),
    example: 'ringmain gateway key revoke 9fK2mQx07TbA',
    run: revoke,
  },
} satisfies Record<string, DatabaseCommand>;

export const runKey = (service: AnyService, argv: readonly string[]): Promise<number> =>
  runDatabaseTool(
    service,
    {
      name: 'ringmain gateway key',
      about: 'Makes, changes, rotates and revokes keys. Works beside running gateways, which follow within a second.',
      commands,
    },
    argv,
  );

export const runSign = singleCommand('ringmain gateway', 'sign', {
  takes: 'PATH --key-id=KEY_ID',
  words: [1, 1],
  summary: 'signs a path, so that a browser may get it without a key',
  about: `Writes the path with kid, exp and sig behind it to standard output. Whoever has it may GET it until it ends; it
counts against the limits and the quota of the key's user. SIGNED_URL_MAX_AGE_MS bounds its life.`,
  flags: {
    'key-id': { value: 'KEY_ID', text: 'by which key' },
    expires: { value: 'TIME', text: `when it ends: after 12h or 7d, or at a time; ${SIGNED} by default` },
  },
  exits: exits('signed'),
  example: 'ringmain gateway sign /rs:fit:300:200/plain/local:///ab/cd.jpg --key-id=9fK2mQx07TbA --expires=7d',
  run: sign,
});

function showMade(tool: DatabaseTool, made: MadeKey): void {
  if (tool.has('json')) printJson(made);
  else {
    say(`signing key, for signed URLs: ${made.signing_key}`);
    say(`key ${made.id} (${made.scopes.join(', ')}); keep both now, they are not shown again:`);
    print(made.key);
  }
}

async function add(tool: DatabaseTool): Promise<number> {
  const [user] = tool.words as [string];
  const { pepper } = tool;
  const wanted = {
    name: tool.flag('name') ?? '',
    env: envOf(tool),
    scopes: wordsOf(tool.flag('scopes') ?? 'read,upload') as readonly Scope[],
    networks: wordsOf(tool.flag('networks') ?? 'none'),
    limits: ratesOf(tool),
  } as const;
  const made = await tool.onDatabase(async (link) => {
    const expires_at = (await expiryOf(tool, link))?.toISOString() ?? null;
    return addKey(link, actor, pepper, await userIdOf(link, user), { ...wanted, expires_at });
  });
  showMade(tool, made);
  return exitCodes.ok;
}

async function list(tool: DatabaseTool): Promise<number> {
  const [user] = tool.words as [string];
  const found = await tool.onDatabase(async (link) => listKeys(link, await userIdOf(link, user)));
  showList(tool, found, 'no keys', [
    ['KEY', (one) => one.id],
    [
      'STATE',
      ({ state, previous_until: until }) => (until === null ? state : `${state}, the old secret until ${until}`),
    ],
    ['SCOPES', (one) => one.scopes.join(',')],
    ['LIMITS', (one) => rateText(one.limits)],
    ['CREATED', (one) => one.created_at],
    ['EXPIRES', (one) => one.expires_at ?? '-'],
    ['LAST USED', (one) => one.last_used_at ?? '-'],
    ['NAME', (one) => one.name],
  ]);
  return exitCodes.ok;
}

async function change(tool: DatabaseTool): Promise<number> {
  const id = meantKeyId(tool.words[0]!);
  const [name, granted, expires, networks] = ['name', 'scopes', 'expires', 'networks'].map((flag) => tool.flag(flag));
  const bounds = Object.keys(rateFlags).some((flag) => tool.flag(flag) !== undefined);
  if (!bounds && [name, granted, expires, networks].every((value) => value === undefined))
    throw usage('what is to be changed must be given: --name, --scopes, --expires, --networks or a limit');
  const changed = await tool.onDatabase(async (link) => {
    const limits = bounds ? ratesOf(tool, (await findKey(link, id)).limits) : undefined;
    const ends = expires === undefined || expires === 'none' ? null : (await endOf(link, expires)).toISOString();
    return changeKey(link, actor, id, {
      ...given({ name, limits }),
      ...(granted === undefined ? {} : { scopes: wordsOf(granted) as readonly Scope[] }),
      ...(expires === undefined ? {} : { expires_at: ends }),
      ...(networks === undefined ? {} : { networks: wordsOf(networks) }),
    });
  });
  showOne(tool, changed, (one) => `key ${one.id} is changed: ${one.scopes.join(', ')}, ${rateText(one.limits)}`);
  return exitCodes.ok;
}

async function sign(tool: DatabaseTool): Promise<number> {
  const [target] = tool.words as [string];
  const { pepper } = tool;
  const id = tool.flag('key-id');
  if (id === undefined) throw usage('--key-id must be given: ringmain gateway key list USER shows the ids');
  const problem = targetProblem(target);
  if (problem !== undefined) throw usage(problem);
  const expires = tool.flag('expires') ?? SIGNED;
  const { allowedSources, signedUrlMaxAgeMs } = (tool.values as GatewayValues).gateway;
  const noPicture = pictureProblem(target.split('?', 1)[0]!, new Sources(allowedSources));
  if (noPicture !== undefined) throw usage(noPicture);
  const signed = await tool.onDatabase(async (link) => {
    const key = await findKey(link, meantKeyId(id));
    if (key.state !== 'valid') throw serviceErrors.RESOURCE_TAKEN({ reason: `the key is ${key.state}: key=${key.id}` });
    if (!key.scopes.includes('read'))
      throw serviceErrors.RESOURCE_TAKEN({ reason: `the key must have the scope read: key=${key.id}` });
    const ends = await endOf(link, expires);
    const { rows } = await link.query<{ now: Date }>('SELECT now()');
    if (ends.getTime() - rows[0]!.now.getTime() > signedUrlMaxAgeMs)
      throw usage(`--expires must be within SIGNED_URL_MAX_AGE_MS (${signedUrlMaxAgeMs} ms): found=${expires}`);
    return signTarget(signingKeyOf(pepper, key.id, key.version), key.id, target, Math.floor(ends.getTime() / 1000));
  });
  print(signed);
  return exitCodes.ok;
}
