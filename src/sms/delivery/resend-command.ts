/** Tool `ringmain sms resend`: sends messages again that have failed, or whose fate nobody knows. */
import { now } from '../../kernel/clock.ts';
import { exitCodes } from '../../kernel/errors.ts';
import { type DatabaseTool, exits, singleCommand } from '../../service/tool/database-tool.ts';
import { json, usage } from '../../service/tool/flags.ts';
import { type Column, say, showList } from '../../service/tool/output.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { type DeadLetter, deadLetters } from './dead-letters.ts';
import { eachMessage, type Sum, TOO_RICH, WORDS_MAX } from './each-message.ts';
import { failedOf, type Resent, resend } from './resend.ts';

const PAGE = 200;
const LIST_MAX = 1000;

export const runResend = singleCommand('ringmain sms', 'resend', {
  takes: '[MESSAGE_ID...]',
  words: [0, WORDS_MAX],
  summary: 'sends messages again that have failed or are unknown, or lists them',
  about: `Puts dead letters back into the queue: messages that were refused, that expired, or that were tried too often, and
those that ended as unknown (which the operator may have sent after all). What was refunded is reserved again; where the
balance does not cover it, the message stays as it is. The validity of each begins anew, as long as it was at first.
--list changes nothing: it shows up to ${LIST_MAX} of them, the oldest first.`,
  flags: {
    failed: { value: '', text: 'all failed messages of --customer, the oldest first; none that are unknown' },
    customer: { value: 'ID', text: 'whose, with --failed or --list' },
    list: { value: '', text: 'shows those that can be sent again, with the reason' },
    after: { value: 'MESSAGE_ID', text: 'with --list: only those behind it' },
    ...json,
  },
  exits: exits('all of them wait to be sent, or are listed', 'some were left as they are; each is named'),
  example: 'ringmain sms resend --failed --customer=acme',
  run,
});

async function run(tool: DatabaseTool): Promise<number> {
  const customer = tool.flag('customer');
  const failed = tool.has('failed');
  if (tool.has('list')) {
    if (failed || tool.words.length > 0) throw usage('--list takes no ids, and not --failed');
    return list(tool, customer);
  }
  if (tool.has('json') || tool.flag('after') !== undefined) throw usage('--after and --json belong to --list');
  if (failed !== (customer !== undefined)) throw usage('--failed and --customer=ID must be given together');
  if (failed === tool.words.length > 0) throw usage('ids of messages, or --failed with --customer, must be given');
  const found = await tool.onDatabase((link) =>
    customer === undefined ? resendAll(link, tool.words) : resendFailed(link, customer),
  );
  say(`${found.done} messages wait to be sent again`);
  return found.left === 0 ? exitCodes.ok : exitCodes.failed;
}

async function list(tool: DatabaseTool, customer: string | undefined): Promise<number> {
  const after = tool.flag('after') ?? '';
  const found = await tool.onDatabase((link) => deadLetters(link, { customer, after, limit: LIST_MAX }));
  showList(tool, found, 'no messages that can be sent again', columns);
  if (found.length === LIST_MAX) say(`there may be more: --after=${found.at(-1)!.message_id}`);
  return exitCodes.ok;
}

const columns: readonly Column<DeadLetter>[] = [
  ['MESSAGE', (one) => one.message_id],
  ['CUSTOMER', (one) => one.customer_id],
  ['STATUS', (one) => one.status],
  ['OPERATOR', (one) => one.operator ?? '-'],
  ['ATTEMPTS', (one) => String(one.attempts)],
  ['AT', (one) => one.at.toISOString()],
  ['REASON', (one) => one.reason],
];

const reasons: Readonly<Record<Exclude<Resent, 'resent'>, string>> = {
  too_poor: 'the balance does not cover it',
  too_rich: TOO_RICH,
  not_dead: 'it is no message that has failed or is unknown',
};

const resendAll = (link: PostgresLink, ids: readonly string[]): Promise<Sum> =>
  eachMessage(ids, async (id) => {
    const what = (await resend(link, [id], now())).get(id)!;
    return what === 'resent' ? null : reasons[what];
  });

async function resendFailed(link: PostgresLink, customerId: string): Promise<Sum> {
  let [done, left] = [0, 0];
  let after = '';
  for (;;) {
    const page = await failedOf(link, customerId, after, PAGE);
    if (page.length === 0) return { done, left };
    after = page.at(-1)!;
    const all = await resend(link, page, now());
    const poor = [...all].filter(([, what]) => what === 'too_poor').map(([id]) => id);
    done += [...all].filter(([, what]) => what === 'resent').length;
    if (poor.length === 0) continue;
    // Not all of them: as many as the balance covers.
    const some = await resendAll(link, poor);
    done += some.done;
    left += some.left;
    if (some.done === 0) return { done, left };
  }
}
