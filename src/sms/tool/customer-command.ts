/** Tool `ringmain sms customer`: customers, their money and prices. Works beside running processes or without any. */
import { exitCodes } from '../../kernel/errors.ts';
import type { AnyService } from '../../service/contract.ts';
import { listAudit } from '../../service/database/audit.ts';
import type { Actor } from '../../service/database/contract.ts';
import { type DatabaseCommand, type DatabaseTool, exits, runDatabaseTool } from '../../service/tool/database-tool.ts';
import { countOf, given, json, numberOf, switchOf, usage } from '../../service/tool/flags.ts';
import { printJson, say, showList, showOnce, showOne } from '../../service/tool/output.ts';
import {
  addCustomer,
  changeCustomer,
  creditCustomer,
  debitCustomer,
  findCustomer,
  listCustomers,
} from '../customers/customers.ts';
import { rotateCallbackSecret } from '../customers/keys.ts';
import type { CustomerChange, CustomerView, Price } from '../customers/views.ts';
import { isTransferId, readStatement } from '../money/statement.ts';

/** Who does it, in the audit log. */
export const actor: Actor = { name: 'cli' };
const LIST_MAX = 1000;

const settings = {
  name: { value: 'TEXT', text: 'what people call it, up to 255 characters' },
  rate: { value: 'N|none', text: 'messages a second that are handed over at most; none: RATE_PER_S' },
  lane: { value: 'normal|express', text: 'what its messages are that do not say' },
  cost: { value: 'N|none', text: 'price of a message, a whole number; none: COST_PER_SMS' },
  prices: {
    value: 'PREFIX:COST,...',
    text: 'prices by the beginning of the number, like +98912:3,+98935:4; none: no such',
  },
};

const commands = {
  add: {
    takes: 'CUSTOMER',
    words: [1, 1],
    summary: 'adds a customer, which may send at once',
    about: `Adds a customer. Its balance is the first credit in the ledger. The secret that its callbacks are signed with is
shown on standard output, or in the JSON, this once; 'secret' makes another.`,
    flags: {
      ...json,
      ...settings,
      balance: { value: 'AMOUNT', text: 'what it may spend, a whole number; 0 by default' },
    },
    exits: exits('added'),
    example: 'ringmain sms customer add acme --balance=100000 --rate=50',
    run: add,
  },
  list: {
    takes: '[TEXT]',
    words: [0, 1],
    summary: 'lists customers, those with TEXT in id or name',
    about: `Lists customers by their ids, ${LIST_MAX} at most; --after=ID goes on behind one.`,
    flags: { ...json, after: { value: 'ID', text: 'only those behind it' } },
    exits: exits('listed'),
    example: 'ringmain sms customer list acme',
    run: list,
  },
  show: {
    takes: 'CUSTOMER',
    words: [1, 1],
    summary: 'shows a customer as JSON',
    about: 'Shows a customer with its prices as JSON.',
    exits: exits('shown'),
    example: 'ringmain sms customer show acme',
    run: show,
  },
  change: {
    takes: 'CUSTOMER',
    words: [1, 1],
    summary: 'changes what is given',
    about: 'Changes what is given. Keys of a customer that is not active are refused everywhere within a second.',
    flags: { ...json, ...settings, active: { value: 'yes|no', text: 'whether it may send' } },
    exits: exits('changed'),
    example: 'ringmain sms customer change acme --rate=100 --prices=+98912:3,+98935:4',
    run: change,
  },
  credit: {
    takes: 'CUSTOMER AMOUNT --key=KEY',
    words: [2, 2],
    summary: 'adds money to a balance, once for each key',
    about: `Adds AMOUNT, a whole number, to the balance. KEY names the payment: a repeat with it adds nothing, and says so.`,
    flags: { ...json, key: { value: 'KEY', text: 'idempotency key, such as the number of the invoice' } },
    exits: exits('added, or was before'),
    example: 'ringmain sms customer credit acme 50000 --key=invoice-2026-1187',
    run: credit,
  },
  debit: {
    takes: 'CUSTOMER AMOUNT --key=KEY',
    words: [2, 2],
    summary: 'takes money back from a balance, once for each key',
    about: `Takes AMOUNT, a whole number, from the balance, which must cover it: a credit that was wrong. KEY names it: a
repeat with it takes nothing, and says so. Keys of credits and debits are the same ones.`,
    flags: { ...json, key: { value: 'KEY', text: 'idempotency key, such as the number of the credit note' } },
    exits: exits('taken, or was before'),
    example: 'ringmain sms customer debit acme 450000 --key=correction-of-invoice-2026-1187',
    run: debit,
  },
  statement: {
    takes: 'CUSTOMER',
    words: [1, 1],
    summary: 'lists its transfers, the newest first',
    about: `Lists transfers of the ledger, the newest first, with what each did to the balance: credits, debits, and what
became of reservations. Those of days that were archived are not among them.`,
    flags: {
      ...json,
      limit: { value: 'N', text: `transfers, ${LIST_MAX} at most; 50 by default` },
      before: { value: 'ID', text: 'only those before this transfer' },
    },
    exits: exits('listed'),
    example: 'ringmain sms customer statement acme --limit=20',
    run: statement,
  },
  secret: {
    takes: 'CUSTOMER',
    words: [1, 1],
    summary: 'makes the secret of its callbacks, and shows it this once',
    about: 'Makes the secret that callbacks are signed with, on standard output. The one before signs none any more.',
    exits: exits('made'),
    example: 'ringmain sms customer secret acme',
    run: secret,
  },
  audit: {
    takes: '',
    words: [0, 0],
    summary: 'lists what administrators did, the newest first',
    about: 'Lists what administrators did, the newest first.',
    flags: { ...json, limit: { value: 'N', text: `entries, ${LIST_MAX} at most; 50 by default` } },
    exits: exits('listed'),
    example: 'ringmain sms customer audit --limit=10',
    run: showAudit,
  },
} satisfies Record<string, DatabaseCommand>;

export const runCustomer = (service: AnyService, argv: readonly string[]): Promise<number> =>
  runDatabaseTool(
    service,
    {
      name: 'ringmain sms customer',
      about: 'Says who may send and for how much. Works beside running processes, which follow within a second.',
      commands,
    },
    argv,
  );

/** +98912:3,+98935:4 */
function pricesOf(tool: DatabaseTool): readonly Price[] | undefined {
  const text = tool.flag('prices');
  if (text === undefined) return undefined;
  if (text === 'none') return [];
  return text.split(',').map((pair) => {
    const [, prefix, cost] = /^\s*(\+\d{1,15}):(\d{1,10})\s*$/.exec(pair) ?? [];
    if (prefix === undefined) throw usage(`--prices must be PREFIX:COST pairs like +98912:3,+98935:4: found=${pair}`);
    return { prefix, cost: Number(cost) };
  });
}

/** An amount of money. */
function amountOf(what: string, text: string): number {
  const amount = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(amount)) return amount;
  throw usage(`${what} must be a whole number of at most ${Number.MAX_SAFE_INTEGER}: found=${text}`);
}

/** What is given of the settings. */
const settingsOf = (tool: DatabaseTool): CustomerChange =>
  given({
    name: tool.flag('name'),
    rate_per_s: countOf(tool, 'rate'),
    lane: tool.flag('lane') as CustomerChange['lane'],
    cost_per_sms: countOf(tool, 'cost'),
    prices: pricesOf(tool),
  });

const describe = ({ customer_id, active, balance, reserved, rate_per_s, lane, cost_per_sms, prices }: CustomerView) =>
  `customer ${customer_id}: ${active ? '' : 'not active, '}balance ${balance}, reserved ${reserved}, ${lane}` +
  `${rate_per_s === null ? '' : `, ${rate_per_s}/s`}${cost_per_sms === null ? '' : `, ${cost_per_sms} a message`}` +
  `${prices.length === 0 ? '' : `, ${prices.length} prices`}`;

async function add(tool: DatabaseTool): Promise<number> {
  const balance = tool.flag('balance');
  const customer = {
    customer_id: tool.words[0]!,
    ...settingsOf(tool),
    ...(balance === undefined ? {} : { balance: amountOf('--balance', balance) }),
  };
  const made = await tool.onDatabase((link) => addCustomer(link, actor, customer));
  showOne(tool, made, describe);
  if (!tool.has('json')) showOnce('the secret of its callbacks', made.callback_secret);
  return exitCodes.ok;
}

async function list(tool: DatabaseTool): Promise<number> {
  const asked = { limit: LIST_MAX, ...given({ search: tool.words[0], after: tool.flag('after') }) };
  const { items, next } = await tool.onDatabase((link) => listCustomers(link, asked));
  showList(tool, items, 'no customers', [
    ['CUSTOMER', (one) => one.customer_id],
    ['ACTIVE', (one) => (one.active ? 'yes' : 'no')],
    ['BALANCE', (one) => String(one.balance)],
    ['RESERVED', (one) => String(one.reserved)],
    ['WAITING', (one) => String(one.waiting)],
    ['RATE', (one) => (one.rate_per_s === null ? '-' : `${one.rate_per_s}/s`)],
    ['LANE', (one) => one.lane],
    ['COST', (one) => String(one.cost_per_sms ?? '-')],
    ['NAME', (one) => one.name],
  ]);
  if (next !== null) say(`there are more: --after=${next}`);
  return exitCodes.ok;
}

async function show(tool: DatabaseTool): Promise<number> {
  printJson(await tool.onDatabase((link) => findCustomer(link, tool.words[0]!)));
  return exitCodes.ok;
}

async function change(tool: DatabaseTool): Promise<number> {
  const wanted = { ...settingsOf(tool), ...given({ active: switchOf(tool, 'active') }) };
  if (Object.keys(wanted).length === 0)
    throw usage('one of --name, --rate, --lane, --cost, --prices and --active must be given');
  showOne(tool, await tool.onDatabase((link) => changeCustomer(link, actor, tool.words[0]!, wanted)), describe);
  return exitCodes.ok;
}

function credit(tool: DatabaseTool): Promise<number> {
  return moveMoney(tool, creditCustomer, 'added');
}

function debit(tool: DatabaseTool): Promise<number> {
  return moveMoney(tool, debitCustomer, 'taken');
}

async function moveMoney(tool: DatabaseTool, move: typeof creditCustomer, done: 'added' | 'taken'): Promise<number> {
  const [id, text] = tool.words as [string, string];
  const key = tool.flag('key');
  if (key === undefined) throw usage(`--key must be given: with the same key nothing is ${done} twice`);
  const payment = { amount: amountOf('the amount', text), idempotency_key: key };
  const { view, replayed } = await tool.onDatabase((link) => move(link, actor, id, payment));
  showOne(tool, { ...view, replayed }, ({ amount, balance }) =>
    replayed
      ? `the key came before: nothing is ${done}; the balance was ${balance} then`
      : `customer ${id}: ${amount} ${done}, balance ${balance}`,
  );
  return exitCodes.ok;
}

async function statement(tool: DatabaseTool): Promise<number> {
  const before = tool.flag('before');
  if (before !== undefined && !isTransferId(before))
    throw usage(`--before must be the id of a transfer: found=${before}`);
  const asked = { customerId: tool.words[0]!, limit: limitOf(tool), before };
  const { transactions, next_cursor: next } = await tool.onDatabase((link) => readStatement(link, asked));
  showList(tool, transactions, 'no transfers', [
    ['ID', (one) => one.transaction_id],
    ['AT', (one) => one.at],
    ['KIND', (one) => one.kind],
    ['AMOUNT', (one) => String(one.amount)],
    ['BALANCE', (one) => `${one.balance_change > 0 ? '+' : ''}${one.balance_change}`],
    ['MESSAGE', (one) => one.message_id ?? '-'],
  ]);
  if (next !== null) say(`there are more: --before=${next}`);
  return exitCodes.ok;
}

async function secret(tool: DatabaseTool): Promise<number> {
  const made = await tool.onDatabase((link) => rotateCallbackSecret(link, actor, tool.words[0]!));
  showOnce('the secret of callbacks', made.callback_secret);
  return exitCodes.ok;
}

/** Of a list. */
const limitOf = (tool: DatabaseTool): number => Math.max(1, Math.min(numberOf(tool, 'limit') ?? 50, LIST_MAX));

async function showAudit(tool: DatabaseTool): Promise<number> {
  const { items } = await tool.onDatabase((link) => listAudit(link, limitOf(tool)));
  showList(tool, items, 'nothing', [
    ['AT', ({ at }) => at],
    ['WHO', ({ actor: who }) => who],
    ['FROM', ({ client_ip }) => client_ip ?? '-'],
    ['DID', ({ action }) => action],
    ['TO', ({ subject }) => subject],
    ['DETAILS', ({ details }) => JSON.stringify(details)],
  ]);
  return exitCodes.ok;
}
