/**
 * The option OPERATORS: who carries messages. One item is one operator; MCI and Irancell are items like any other.
 *
 *   - {name: mci, driver: smpp, url: "smpp://smsc.example:2775", system_id: ringmain, password_file: /run/secrets/mci,
 *      prefixes: ["+9891", "+9899"], window: 50, tps: 200, sender: "98200"}
 *   - {name: irancell, driver: http, url: "https://api.example/messages", token_file: /run/secrets/irancell,
 *      prefixes: ["+9890", "+9893"], window: 64, tps: 300}
 */
import { readFileSync, statSync } from 'node:fs';
import { Refused } from '../../kernel/config.ts';
import { type ReceiptId, receiptIds } from './smpp/message-id.ts';

export const OPERATORS_MAX = 32;
const PREFIXES_MAX = 1000;
const SECRET_BYTES_MAX = 4096;
/** SMPP 3.4, 4.1.1: fields of a bind have 16 and 9 octets with the NUL at their end. */
const SYSTEM_ID_LENGTH_MAX = 15;
const PASSWORD_LENGTH_MAX = 8;
const SYSTEM_TYPE_LENGTH_MAX = 12;

export const drivers = ['http', 'smpp'] as const;
export type DriverName = (typeof drivers)[number];

/** Plain data: it goes to threads. */
export interface GivenOperator {
  readonly name: string;
  readonly driver: DriverName;
  readonly url: string;
  /** Beginnings of numbers, with the plus; '+' alone is every number. */
  readonly prefixes: readonly string[];
  /** Share among operators of the same prefix and cost. 0: only when no other can. */
  readonly weight: number;
  /** Where prefixes are equally long the cheaper operator goes first. */
  readonly cost: number;
  /** Messages under way at once, in each process. */
  readonly window: number;
  /** Messages (driver smpp: segments) in a second, of each process; 0: no limit. */
  readonly tps: number;
  /** From the request to its answer. */
  readonly timeout_ms: number;
  /** Bearer token, ours to the operator and the operator's on its receipts. */
  readonly token?: string;
  /** Sender of messages that name none; '': the operator's own. */
  readonly sender: string;
  readonly system_id?: string;
  readonly password?: string;
  readonly system_type?: string;
  /** A connection on which nothing has come for so long is asked whether it lives. */
  readonly enquire_link_ms?: number;
  /** How its receipts write the id that submit_sm_resp gave. */
  readonly receipt_id?: ReceiptId;
}

type Given = Readonly<Record<string, unknown>>;
type Path = readonly (string | number)[];

/** A member that breaks its rule. Values of secrets are never quoted. */
const refuse = (path: Path, must: string, found?: unknown): never => {
  const text = found === undefined ? '' : `: found=${short(found)}`;
  throw new Refused(`${path.at(-1)} must be ${must}${text}`, path);
};

const short = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, 100);

/** Reads OPERATORS. Throws Refused with the part that breaks a rule. */
export function parseOperators(value: unknown): readonly GivenOperator[] {
  if (!Array.isArray(value)) throw new Refused('not a list');
  if (value.length > OPERATORS_MAX) throw new Refused(`at most ${OPERATORS_MAX} operators`);
  const seen = new Set<string>();
  return value.map((item: unknown, index) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item))
      throw new Refused('an operator must be a mapping with name, driver and url', [index]);
    const operator = parseOperator(item as Given, [index]);
    if (seen.has(operator.name)) refuse([index, 'name'], 'there once', operator.name);
    seen.add(operator.name);
    return operator;
  });
}

/** What --print-config shows. */
export const shownOperators = (operators: readonly GivenOperator[]): unknown =>
  operators.map(({ token, password, ...rest }) => ({
    ...rest,
    ...(token === undefined ? {} : { token: '***' }),
    ...(password === undefined ? {} : { password: '***' }),
  }));

const shared = [
  'name',
  'driver',
  'url',
  'prefixes',
  'weight',
  'cost',
  'window',
  'tps',
  'timeout_ms',
  'sender',
  'token',
  'token_file',
];
const members: Readonly<Record<DriverName, readonly string[]>> = {
  http: shared,
  smpp: [...shared, 'system_id', 'password', 'password_file', 'system_type', 'enquire_link_ms', 'receipt_id'],
};

function parseOperator(given: Given, at: Path): GivenOperator {
  const { name, driver } = given;
  if (typeof name !== 'string' || !/^[a-z0-9][a-z0-9_-]{0,31}$/.test(name))
    refuse([...at, 'name'], 'of 1 to 32 small letters, digits, - and _', name);
  if (driver !== 'http' && driver !== 'smpp') refuse([...at, 'driver'], 'http or smpp', driver);
  const known = members[driver as DriverName];
  const strange = Object.keys(given).find((key) => !known.includes(key));
  if (strange !== undefined)
    throw new Refused(`${strange} is no member of an operator with driver ${driver}: ${known.join(', ')}`, [
      ...at,
      strange,
    ]);
  const token = secretOf(given, 'token', at);
  return {
    name: name as string,
    driver: driver as DriverName,
    url: urlOf(given['url'], driver as DriverName, [...at, 'url']),
    prefixes: prefixesOf(given['prefixes'], [...at, 'prefixes']),
    weight: wholeOf(given, 'weight', at, { initial: 1, min: 0, max: 1000 }),
    cost: wholeOf(given, 'cost', at, { initial: 0, min: 0, max: 1_000_000_000 }),
    window: wholeOf(given, 'window', at, { initial: driver === 'smpp' ? 10 : 64, min: 1, max: 10_000 }),
    tps: wholeOf(given, 'tps', at, { initial: 0, min: 0, max: 100_000 }),
    timeout_ms: wholeOf(given, 'timeout_ms', at, { initial: 10_000, min: 10, max: 120_000 }),
    ...(token === undefined ? {} : { token: bearer(token, [...at, 'token']) }),
    sender: senderOf(given['sender'], [...at, 'sender']),
    ...(driver === 'smpp' ? smppMembers(given, at) : {}),
  };
}

function smppMembers(
  given: Given,
  at: Path,
): Pick<GivenOperator, 'system_id' | 'password' | 'system_type' | 'enquire_link_ms' | 'receipt_id'> {
  const password = secretOf(given, 'password', at);
  if (password !== undefined && !isAscii(password, PASSWORD_LENGTH_MAX))
    refuse([...at, 'password'], `of at most ${PASSWORD_LENGTH_MAX} printable ASCII characters (SMPP 3.4)`);
  const receiptId = given['receipt_id'] ?? 'same';
  if (!receiptIds.includes(receiptId as ReceiptId))
    refuse([...at, 'receipt_id'], `one of ${receiptIds.join(', ')}`, receiptId);
  return {
    system_id: asciiOf(given, 'system_id', at, SYSTEM_ID_LENGTH_MAX),
    ...(password === undefined ? {} : { password }),
    ...(given['system_type'] === undefined
      ? {}
      : { system_type: asciiOf(given, 'system_type', at, SYSTEM_TYPE_LENGTH_MAX) }),
    enquire_link_ms: wholeOf(given, 'enquire_link_ms', at, { initial: 30_000, min: 50, max: 3_600_000 }),
    receipt_id: receiptId as ReceiptId,
  };
}

function urlOf(value: unknown, driver: DriverName, at: Path): string {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const schemes = driver === 'http' ? ['http:', 'https:'] : ['smpp:', 'smpps:'];
  const bare = url !== undefined && url.username + url.password + url.search + url.hash === '' && url.hostname !== '';
  const fits = bare && schemes.includes(url.protocol) && (driver === 'http' || url.pathname.length <= 1);
  if (fits && (value as string).length <= 1000) return value as string;
  // It may hold a password, which is why it is not quoted.
  return refuse(
    at,
    driver === 'http'
      ? 'http(s)://host[:port]/path, without user, password and query'
      : 'smpp://host:port or smpps://host:port, with nothing behind it',
  );
}

function prefixesOf(value: unknown, at: Path): readonly string[] {
  if (value === undefined) return ['+'];
  if (!Array.isArray(value) || value.length === 0 || value.length > PREFIXES_MAX)
    return refuse(at, `a list of 1 to ${PREFIXES_MAX} beginnings of numbers, like "+9891"`);
  for (const [index, prefix] of value.entries())
    if (typeof prefix !== 'string' || !/^\+\d{0,15}$/.test(prefix))
      throw new Refused(`a prefix must be + and up to 15 digits, as text: found=${short(prefix)}`, [...at, index]);
  return [...new Set(value as readonly string[])];
}

function senderOf(value: unknown, at: Path): string {
  if (value === undefined) return '';
  if (typeof value === 'string' && /^(?:\+?\d{1,15}|[A-Za-z0-9 ._-]{1,11})$/.test(value)) return value;
  return refuse(at, 'a number of up to 15 digits, or up to 11 letters and digits, as text', value);
}

interface Whole {
  readonly initial: number;
  readonly min: number;
  readonly max: number;
}

function wholeOf(given: Given, member: string, at: Path, { initial, min, max }: Whole): number {
  const value = given[member] ?? initial;
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
  return refuse([...at, member], `a whole number from ${min} to ${max}`, value);
}

const isAscii = (text: string, lengthMax: number): boolean => text.length <= lengthMax && /^[\x20-\x7e]+$/.test(text);

function asciiOf(given: Given, member: string, at: Path, lengthMax: number): string {
  const value = given[member];
  if (typeof value === 'string' && isAscii(value, lengthMax)) return value;
  return refuse([...at, member], `of 1 to ${lengthMax} printable ASCII characters (SMPP 3.4)`, value);
}

function bearer(token: string, at: Path): string {
  return token.length >= 16 && isAscii(token, 1024) && !token.includes(' ')
    ? token
    : refuse(at, 'of 16 to 1024 printable ASCII characters without spaces');
}

/** The member itself, or the content of the file that `<member>_file` names, without its last line break. */
function secretOf(given: Given, member: string, at: Path): string | undefined {
  const { [member]: value, [`${member}_file`]: file } = given;
  if (value !== undefined && file !== undefined)
    throw new Refused(`one of ${member} and ${member}_file must be given, not both`, [...at, `${member}_file`]);
  if (file !== undefined) return fromFile(file, [...at, `${member}_file`]);
  if (value === undefined || (typeof value === 'string' && value !== '')) return value;
  return refuse([...at, member], 'a text that is not empty');
}

function fromFile(file: unknown, at: Path): string {
  if (typeof file !== 'string' || file === '') return refuse(at, 'the path of a file', file);
  try {
    const { size } = statSync(file);
    if (size > SECRET_BYTES_MAX) refuse(at, `a file of at most ${SECRET_BYTES_MAX} bytes`, size);
    const text = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    return text === '' ? refuse(at, 'a file with a value', file) : text;
  } catch (error) {
    if (error instanceof Refused) throw error;
    return refuse(at, 'a readable file', `${file}: ${(error as NodeJS.ErrnoException).code}`);
  }
}
