/** Commands of `ringmain site` about share links: people/shares.ts does what they say. */
import { Passwords, passwordProblem } from '../../access/password.ts';
import { exitCodes } from '../../kernel/errors.ts';
import { type DatabaseCommand, type DatabaseTool, exits } from '../../service/tool/database-tool.ts';
import { json, usage } from '../../service/tool/flags.ts';
import { expiry, expiryOf } from '../../service/tool/key-flags.ts';
import { say, showList, showOnce } from '../../service/tool/output.ts';
import { readNewSecret } from '../../service/tool/secret.ts';
import { analyticsErrors } from '../errors.ts';
import { addShare, listShares, removeShare, SHARE_LABEL_MAX } from '../people/shares.ts';

export const shareCommands = {
  share: {
    takes: 'SITE_ID',
    words: [1, 1],
    summary: 'makes a link that shows the dashboard of one site',
    about: `Makes a link that shows the dashboard of one site to whoever has it, and writes its path to standard output,
this once: only a digest of it is kept. Put the address of your server in front of it.`,
    flags: {
      'password-stdin': { value: '', text: 'the link asks for a password: the first line of standard input' },
      label: { value: 'TEXT', text: `what people call it, up to ${SHARE_LABEL_MAX} characters` },
      ...expiry,
    },
    exits: exits('made'),
    example: 'ringmain site share shop.example --label="for the board" --expires=90d',
    run: share,
  },
  shares: {
    takes: '[SITE_ID]',
    words: [0, 1],
    summary: 'lists the share links of a site, or of all sites',
    about: 'Lists share links by their ids: label, password or none, times. A link itself is not shown again.',
    flags: json,
    exits: exits('listed'),
    example: 'ringmain site shares shop.example --json',
    run: shares,
  },
  unshare: {
    takes: 'SHARE_ID',
    words: [1, 1],
    summary: 'ends a share link for good',
    about:
      'Ends a share link by its id, which `ringmain site shares` shows. Services refuse it within a second or two.',
    exits: exits('it is ended'),
    example: 'ringmain site unshare 3f9c01ab77e2',
    run: unshare,
  },
} satisfies Record<string, DatabaseCommand>;

async function share(tool: DatabaseTool): Promise<number> {
  const [name] = tool.words as [string];
  const label = tool.flag('label') ?? '';
  if ([...label].length > SHARE_LABEL_MAX)
    throw usage(`--label must be at most ${SHARE_LABEL_MAX} characters: found=${[...label].length}`);
  const password = tool.has('password-stdin') ? await newPassword(tool, 'password of the link') : undefined;
  const made = await tool.onDatabase(async (link) =>
    addShare(link, name, { label, password, expiresAt: await expiryOf(tool, link), actor: null }),
  );
  showOnce(`share link ${made.share_id} of ${made.site_id}`, `/?share=${made.token}`);
  return exitCodes.ok;
}

/** Reads a new password and returns what is kept of it. Throws USAGE. */
export async function newPassword(tool: DatabaseTool, prompt: string): Promise<string> {
  const password = await readNewSecret(tool.input, prompt);
  const problem = passwordProblem(password);
  if (problem !== undefined) throw usage(problem);
  return new Passwords().hash(password);
}

async function shares(tool: DatabaseTool): Promise<number> {
  const found = await tool.onDatabase((link) => listShares(link, tool.words[0]));
  showList(tool, found, 'no share links', [
    ['LINK', (one) => one.share_id],
    ['SITE', (one) => one.site_id],
    ['PASSWORD', (one) => (one.locked ? 'yes' : 'no')],
    ['CREATED', (one) => one.created_at.toISOString()],
    ['EXPIRES', (one) => one.expires_at?.toISOString() ?? '-'],
    ['LABEL', (one) => one.label],
  ]);
  return exitCodes.ok;
}

async function unshare(tool: DatabaseTool): Promise<number> {
  const [id] = tool.words as [string];
  const siteId = await tool.onDatabase((link) => removeShare(link, id, { name: undefined, actor: null }));
  if (siteId === undefined)
    throw analyticsErrors.SITE_REFUSED({
      reason: `there is no such share link: id=${id}; \`ringmain site shares\` shows those there are`,
    });
  say(`share link ${id} of ${siteId} is ended`);
  return exitCodes.ok;
}
