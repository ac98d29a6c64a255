/** Tool `ringmain sms seed`: customers for tries and load tests. */
import { exitCodes } from '../../kernel/errors.ts';
import { serviceErrors } from '../../service/errors.ts';
import { type DatabaseTool, exits, singleCommand } from '../../service/tool/database-tool.ts';
import { usage } from '../../service/tool/flags.ts';
import { say } from '../../service/tool/output.ts';
import { isEmpty, seed } from './seed.ts';

const CUSTOMERS = 3;
const CUSTOMERS_MAX = 100_000;
const BALANCE = 1_000_000;
const BALANCE_MAX = 1_000_000_000_000;

export const runSeed = singleCommand('ringmain sms', 'seed', {
  takes: '',
  words: [0, 0],
  summary: 'adds customers for tries and load tests',
  about: `Adds customers test-1, test-2, ... with a balance each, which is a credit in the ledger. Not on a database that has
customers or messages, unless --force is given: then those that are missing are added, and nobody is changed.`,
  flags: {
    customers: { value: 'N', text: `how many, at most ${CUSTOMERS_MAX}; ${CUSTOMERS} without it` },
    balance: { value: 'AMOUNT', text: `of each, in the unit of COST_PER_SMS; ${BALANCE} without it` },
    force: { value: '', text: 'also on a database that is not empty' },
  },
  exits: exits('they are there'),
  example: 'ringmain sms seed --customers=1000 --balance=1000000',
  async run(tool) {
    const customers = countOf(tool, 'customers', CUSTOMERS, 1, CUSTOMERS_MAX);
    const balance = countOf(tool, 'balance', BALANCE, 0, BALANCE_MAX);
    const added = await tool.onDatabase(async (link) => {
      if (!tool.has('force') && !(await isEmpty(link)))
        throw serviceErrors.RESOURCE_TAKEN({
          reason: 'the database must be empty, or --force given: it has customers or messages',
        });
      return seed(link, { customers, balance });
    });
    say(`${added} of ${customers} customers were added: test-1 to test-${customers}, balance ${balance} each`);
    return exitCodes.ok;
  },
});

function countOf(tool: DatabaseTool, flag: string, otherwise: number, min: number, max: number): number {
  const text = tool.flag(flag);
  if (text === undefined) return otherwise;
  const count = /^\d{1,15}$/.test(text) ? Number(text) : -1;
  if (count >= min && count <= max) return count;
  throw usage(`--${flag} must be a whole number from ${min} to ${max}: found=${text}`);
}
