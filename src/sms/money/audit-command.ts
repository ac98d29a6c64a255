/** Tool `ringmain sms audit`: proves that balances are what the ledger and the messages come to. */
import { exitCodes } from '../../kernel/errors.ts';
import { exits, singleCommand } from '../../service/tool/database-tool.ts';
import { json } from '../../service/tool/flags.ts';
import { type Column, print, printJson, say, tableOf } from '../../service/tool/output.ts';
import { noteFinding } from '../findings.ts';
import { audit, type Difference } from './audit.ts';

const AUDIT_MS_MAX = 3_600_000;

const columns: readonly Column<Difference>[] = [
  ['CUSTOMER', (one) => one.customer],
  ['CHECK', (one) => one.check],
  ['STORED', (one) => one.stored],
  ['PROVEN', (one) => one.proven],
  ['DIFFERENCE', (one) => one.difference],
];

export const runAudit = singleCommand('ringmain sms', 'audit', {
  takes: '',
  words: [0, 0],
  summary: 'proves that balances are what the ledger and the messages come to',
  about: `Compares, of one snapshot of the database, each customer's balance, reservation and waiting messages with the
ledger (balance_txn, balance_carries) and the messages (sms_logs). Nothing waits for it. Days of the ledger that were
carried forward are not read again. What differs is listed by customer.`,
  flags: json,
  exits: exits('everything is as it must be', 'figures differ; each is listed'),
  example: 'ringmain sms audit',
  async run(tool) {
    const { customers, transfers, differences } = await tool.onDatabase(
      async (link) => {
        const audited = await audit(link);
        // What all processes show as sms_audit_differences.
        await noteFinding(link, 'audit_differences', audited.differences.length);
        return audited;
      },
      { queryTimeoutMs: AUDIT_MS_MAX },
    );
    if (tool.has('json')) printJson({ customers, transfers, differences });
    else if (differences.length > 0) print(tableOf(differences, columns));
    const sums = `${customers} customers, ${transfers} transfers`;
    say(differences.length === 0 ? `in order: ${sums}` : `${differences.length} figures differ: ${sums}`);
    return differences.length === 0 ? exitCodes.ok : exitCodes.failed;
  },
});
