/** Tool `ringmain sms settle`: says what became of messages that had ended as unknown. */
import { exitCodes } from '../../kernel/errors.ts';
import { type DatabaseTool, exits, singleCommand } from '../../service/tool/database-tool.ts';
import { usage } from '../../service/tool/flags.ts';
import { say } from '../../service/tool/output.ts';
import { eachMessage, TOO_RICH, WORDS_MAX } from './each-message.ts';
import { fates, type SettledUnknown, settleUnknown } from './unknown.ts';

const REASON_MAX = 255;

export const runSettle = singleCommand('ringmain sms', 'settle', {
  takes: 'MESSAGE_ID... --as=FATE',
  words: [1, WORDS_MAX],
  summary: 'says what became of messages that had ended as unknown',
  about: `For messages that ended as unknown, when their operator has said by another way what became of them. sent,
delivered, undelivered: the operator had it; what was captured stays so, and what was given back stays given back.
failed: the operator never had it; what was captured is given back, and 'ringmain sms resend' may send it again. The
customer is told by its callback, reports follow, and the audit log keeps who said it. 'resend --list' shows which
messages are unknown.`,
  flags: {
    as: { value: fates.join('|'), text: 'what became of all of them' },
    reason: { value: 'TEXT', text: `who says so, up to ${REASON_MAX} characters` },
  },
  exits: exits('all of them are settled', 'some were left as they are; each is named'),
  example: 'ringmain sms settle 01KB3V7J2K0000000000000000 --as=failed --reason="mci, ticket 4711"',
  run,
});

const reasons: Readonly<Record<Exclude<SettledUnknown, 'settled'>, string>> = {
  too_rich: TOO_RICH,
  not_unknown: 'it is no message that has ended as unknown',
};

async function run(tool: DatabaseTool): Promise<number> {
  const as = fates.find((fate) => fate === tool.flag('as'));
  if (as === undefined) throw usage(`--as must be one of ${fates.join(', ')}: found=${tool.flag('as') ?? 'nothing'}`);
  const reason = tool.flag('reason') ?? `settled as ${as} by command`;
  if (reason.length > REASON_MAX || /\p{Cc}/u.test(reason))
    throw usage(`--reason must be at most ${REASON_MAX} characters, none of them a control character`);
  const { done, left } = await tool.onDatabase((link) =>
    eachMessage(tool.words, async (id) => {
      const what = await settleUnknown(link, { name: 'cli' }, id, { as, reason });
      return what === 'settled' ? null : reasons[what];
    }),
  );
  say(`${done} messages are settled as ${as}`);
  return left === 0 ? exitCodes.ok : exitCodes.failed;
}
