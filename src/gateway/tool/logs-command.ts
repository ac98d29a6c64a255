/** Tools `ringmain gateway logs` and `purge`: what was asked of the gateway, and what its caches serve no more. */
import { exitCodes } from '../../kernel/errors.ts';
import { exits, singleCommand } from '../../service/tool/database-tool.ts';
import { json, lines, linesOf, usage } from '../../service/tool/flags.ts';
import { say, showList } from '../../service/tool/output.ts';
import { userIdOf } from '../database/admin/users.ts';
import type { GatewayValues } from '../gateway.ts';
import { purge } from '../images/answers.ts';
import { purgeOfPath, purgeOfPrefix } from '../images/purge-input.ts';
import { Sources } from '../images/sources.ts';
import { listLogs } from '../logs/answers.ts';
import { LOGS_LIMIT_MAX, type LogEntry, readLogsQuestion } from '../logs/question.ts';

const filters = {
  'key-id': { value: 'KEY_ID', text: 'of this key' },
  status: { value: 'STATUS', text: 'with this status, like 429, or of a class, like 5xx' },
  outcome: { value: 'WORD', text: 'with this outcome, like hit or limited' },
  from: { value: 'TIME', text: 'from this time on, like 2027-01-31T00:00:00Z' },
  to: { value: 'TIME', text: 'before this time' },
  path: { value: 'TEXT', text: 'whose path begins so' },
};

export const runLogs = singleCommand('ringmain gateway', 'logs', {
  takes: '[USER]',
  words: [0, 1],
  summary: 'shows requests, also refused ones, the newest first',
  about: 'Shows requests of one user or of all, the newest first, by the filters of GET /api/v1/logs.',
  flags: { ...json, ...lines, ...filters },
  exits: exits('shown'),
  example: 'ringmain gateway logs ada --status=429 --from=2027-01-31T00:00:00Z --lines=20',
  async run(tool) {
    const query = new URLSearchParams();
    for (const flag of Object.keys(filters)) {
      const value = tool.flag(flag);
      if (value !== undefined) query.set(flag.replace('-', '_'), value);
    }
    const wanted = linesOf(tool);
    const [user] = tool.words;
    const found = await tool.onDatabase(async (link) => {
      if (user !== undefined) query.set('user_id', String(await userIdOf(link, user)));
      const entries: LogEntry[] = [];
      for (let next: string | null = ''; next !== null && entries.length < wanted; ) {
        query.set('limit', String(Math.min(LOGS_LIMIT_MAX, wanted - entries.length)));
        if (next !== '') query.set('cursor', next);
        const page = await listLogs(link, readLogsQuestion(query.toString()));
        entries.push(...page.items);
        next = page.next;
      }
      return entries;
    });
    showList(tool, found, 'no requests', [
      ['TIME', (one) => one.created_at],
      ['STATUS', (one) => String(one.response_status)],
      ['OUTCOME', (one) => one.outcome],
      ['MS', (one) => String(one.response_time_ms)],
      ['BYTES', (one) => String(one.response_size_bytes)],
      ['USER', (one) => String(one.user_id ?? '-')],
      ['KEY', (one) => one.key_id ?? '-'],
      ['ADDRESS', (one) => one.client_ip ?? '-'],
      ['REQUEST', (one) => `${one.method} ${one.request_path}`],
    ]);
    return exitCodes.ok;
  },
});

export const runPurge = singleCommand('ringmain gateway', 'purge', {
  takes: 'PATH|SOURCE, or --prefix=SOURCES',
  words: [0, 1],
  summary: 'lets caches serve a picture no more',
  about: `Purges all variants of a source, or those of every source that begins with a prefix. Gateways serve what they
have cached of it no more within a second.`,
  flags: { prefix: { value: 'TEXT', text: 'what sources begin with, like https://pics.example.com/old/' } },
  exits: exits('it is purged'),
  example: 'ringmain gateway purge local:///ab/cd.jpg',
  async run(tool) {
    const [path] = tool.words;
    const prefix = tool.flag('prefix');
    if ((path === undefined) === (prefix === undefined)) throw usage('a path, a source or --prefix must be given');
    const sources = new Sources((tool.values as GatewayValues).gateway.allowedSources);
    const input = path === undefined ? purgeOfPrefix(prefix!) : purgeOfPath(path, sources);
    await tool.onDatabase((link) => purge(link, input));
    say(`${input.prefix ? 'sources that begin with ' : ''}${input.source}: what is cached of it ends now`);
    return exitCodes.ok;
  },
});
