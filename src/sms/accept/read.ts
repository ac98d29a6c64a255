/** Reads messages and balances, each in one statement. The time in a ULID says in which partition a message is. */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { smsErrors } from '../errors.ts';
import { ulidMs } from '../message/ulid.ts';
import type { Lane, Status } from '../model.ts';

export interface MessageView {
  readonly message_id: string;
  readonly customer_id: string;
  readonly to: string;
  readonly sender: string;
  readonly text: string;
  readonly type: Lane;
  readonly segments: number;
  readonly cost: number;
  readonly status: Status;
  readonly operator: string | null;
  readonly reason: string | null;
  readonly attempts: number;
  readonly valid_until: string;
  /** Oldest first; begins with accepted. */
  readonly history: readonly { readonly status: Status; readonly at: string }[];
}

export interface MessagePage {
  readonly messages: readonly MessageView[];
  readonly next_cursor: string | null;
}

export interface BalanceView {
  readonly customer_id: string;
  readonly balance: number;
  readonly reserved: number;
}

interface Row {
  readonly message_id: string;
  readonly customer_id: string;
  readonly recipient: string;
  readonly sender: string;
  readonly body: string;
  readonly lane: Lane;
  readonly segments: number;
  readonly cost: string;
  readonly status: Status;
  readonly operator: string | null;
  readonly reason: string | null;
  readonly attempts: number;
  readonly created_at: Date;
  readonly valid_until: Date;
  readonly sent_at: Date | null;
  readonly done_at: Date | null;
}

const COLUMNS = `message_id, customer_id, recipient, sender, body, lane, segments, cost, status, operator, reason,
  attempts, created_at, valid_until, sent_at, done_at`;

/** `customerId`: whose message it must be; undefined: anybody's. Throws MESSAGE_UNKNOWN. */
export async function readMessage(
  link: PostgresLink,
  messageId: string,
  customerId: string | undefined,
): Promise<MessageView> {
  const ms = ulidMs(messageId);
  const { rows } =
    ms === undefined
      ? { rows: [] }
      : await link.query<Row>(`SELECT ${COLUMNS} FROM sms_logs WHERE message_id = $1 AND created_at = $2`, [
          messageId,
          new Date(ms),
        ]);
  const [row] = rows;
  if (row === undefined || (customerId !== undefined && row.customer_id !== customerId))
    throw smsErrors.MESSAGE_UNKNOWN({ message: messageId });
  return viewOf(row);
}

/** The newest first. `before`: a ULID; its own message is left out. Throws CUSTOMER_UNKNOWN. */
export async function listMessages(
  link: PostgresLink,
  { customerId, limit, before }: { customerId: string; limit: number; before: string | undefined },
): Promise<MessagePage> {
  const { rows } = await link.query<Row>(
    `SELECT ${COLUMNS} FROM sms_logs WHERE customer_id = $1 AND message_id < $2 AND created_at <= $3
       ORDER BY message_id DESC LIMIT $4`,
    [customerId, before ?? LAST_ID, before === undefined ? 'infinity' : new Date(ulidMs(before)!), limit + 1],
  );
  if (rows.length === 0) await readBalance(link, customerId);
  return {
    messages: rows.slice(0, limit).map(viewOf),
    next_cursor: rows.length > limit ? rows[limit - 1]!.message_id : null,
  };
}

/** Behind every ULID. */
const LAST_ID = '~';

function viewOf(row: Row): MessageView {
  const { created_at: created, sent_at: sent, done_at: done } = row;
  const history = [
    { status: 'accepted' as const, at: created.toISOString() },
    ...(sent === null ? [] : [{ status: 'sent' as const, at: sent.toISOString() }]),
    ...(done === null || row.status === 'sent' ? [] : [{ status: row.status, at: done.toISOString() }]),
  ];
  return {
    message_id: row.message_id,
    customer_id: row.customer_id,
    to: row.recipient,
    sender: row.sender,
    text: row.body,
    type: row.lane,
    segments: row.segments,
    cost: Number(row.cost),
    status: row.status,
    operator: row.operator,
    reason: row.reason,
    attempts: row.attempts,
    valid_until: row.valid_until.toISOString(),
    history,
  };
}

/** Throws CUSTOMER_UNKNOWN. */
export async function readBalance(link: PostgresLink, customerId: string): Promise<BalanceView> {
  const { rows } = await link.query<{ balance: string; reserved: string }>(
    'SELECT balance, reserved FROM customers WHERE customer_id = $1',
    [customerId],
  );
  const [row] = rows;
  if (row === undefined) throw smsErrors.CUSTOMER_UNKNOWN({ customer: customerId });
  return { customer_id: customerId, balance: Number(row.balance), reserved: Number(row.reserved) };
}
