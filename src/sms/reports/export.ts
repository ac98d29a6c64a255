/**
 * Export: a row per message that was accepted in the range, written by ClickHouse in the format asked for and handed on
 * piece by piece as the client takes it, so neither side holds more than a few of them.
 */
import type { ReplyStream } from '../../http/reply-stream.ts';
import type { ClickHouse } from '../../store/clickhouse/client.ts';
import { inOrder, messagesWhere } from './messages.ts';
import { MINUTE_MS, type Range, roundedOut } from './range.ts';

export const exportFormats = ['csv', 'jsonl', 'parquet'] as const;
export type ExportFormat = (typeof exportFormats)[number];

interface Written {
  readonly type: string;
  readonly format: string;
  readonly settings: string;
  /** How a text column stands in the file. */
  text(column: string): string;
  /** How a time (ms since 1970; 0: none) stands in it. */
  time(column: string): string;
}

const isoText = (column: string): string =>
  `if(${column} = 0, NULL, concat(formatDateTime(fromUnixTimestamp64Milli(toInt64(${column}), 'UTC'), '%Y-%m-%dT%H:%i:%S'),
    '.', leftPad(toString(${column} % 1000), 3, '0'), 'Z'))`;
const plain = (column: string): string => column;

/**
 * A text that a spreadsheet would take for a formula gets an apostrophe in front, as OWASP advises (CSV injection): the
 * begins are those of analytics/api/csv.ts.
 */
const FORMULA = String.raw`^[=+\-@\t\r\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]`.replaceAll('\\', '\\\\');
const noFormula = (column: string): string => `if(match(${column}, '${FORMULA}'), concat('''', ${column}), ${column})`;

const written: Readonly<Record<ExportFormat, Written>> = {
  csv: {
    type: 'text/csv; charset=utf-8; header=present',
    format: 'CSVWithNames',
    settings: ", output_format_csv_crlf_end_of_line = 1, format_csv_null_representation = ''",
    text: noFormula,
    time: isoText,
  },
  jsonl: {
    type: 'application/x-ndjson',
    format: 'JSONEachRow',
    settings: ', output_format_json_quote_64bit_integers = 0',
    text: plain,
    time: isoText,
  },
  parquet: {
    type: 'application/vnd.apache.parquet',
    format: 'Parquet',
    // Small groups of rows: each is made as a whole before it is written.
    settings: ", output_format_parquet_row_group_size = 65536, output_format_parquet_compression_method = 'snappy'",
    text: plain,
    time: (column) => `if(${column} = 0, NULL, fromUnixTimestamp64Milli(toInt64(${column}), 'UTC'))`,
  },
};

const texts = ['message_id', 'customer_id', 'type', 'status', 'operator', 'reason'] as const;
const numbers = ['attempts', 'segments', 'cost'] as const;
const times = ['accepted_at', 'sent_at', 'delivered_at'] as const;
const keys: ReadonlySet<string> = new Set(['message_id', 'customer_id']);

export const contentTypeOf = (format: ExportFormat): string => written[format].type;

function sqlOf(format: ExportFormat, customer: string | undefined): string {
  const { format: name, settings, text, time } = written[format];
  const columns = [
    ...texts.map((column) => `${text(`toString(${keys.has(column) ? column : `m_${column}`})`)} AS f_${column}`),
    ...numbers.map((column) => `m_${column} AS f_${column}`),
    ...times.map((column) => `${time(`m_${column}`)} AS f_${column}`),
  ];
  const all = [...texts, ...numbers, ...times];
  const where = [
    "minute >= toDateTime({fromMinute:UInt32}, 'UTC') AND minute < toDateTime({toMinute:UInt32}, 'UTC')",
    'accepted_at >= {from:UInt64} AND accepted_at < {to:UInt64}',
    ...(customer === undefined ? [] : ['customer_id = {customer:String}']),
  ].join(' AND ');
  return `SELECT ${all.map((column) => `f_${column} AS ${column}`).join(', ')}
    FROM (SELECT ${columns.join(', ')} FROM (${messagesWhere(where)}))
    ${inOrder}, max_threads = 2, max_block_size = 8192${settings} FORMAT ${name}`;
}

/** The bytes of the file. */
export function exported(
  client: ClickHouse,
  format: ExportFormat,
  range: Range,
  customer: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const minutes = roundedOut(range, MINUTE_MS);
  return client.stream(sqlOf(format, customer), {
    params: {
      ...range,
      fromMinute: minutes.from / 1000,
      toMinute: minutes.to / 1000,
      ...(customer === undefined ? {} : { customer }),
    },
    signal,
  });
}

/** Writes the pieces as the client takes them; `first` is the one that has come already. */
export async function writeAll(
  stream: ReplyStream,
  first: IteratorResult<Buffer>,
  pieces: AsyncGenerator<Buffer>,
  failed: (error: unknown) => void,
): Promise<void> {
  try {
    for (let piece = first; piece.done !== true; piece = await pieces.next()) {
      if (!stream.open) return;
      if (!stream.write(piece.value)) await stream.drained();
    }
    stream.end();
  } catch (error) {
    if (!stream.open) return;
    failed(error);
    stream.breakOff();
  } finally {
    await pieces.return(undefined);
  }
}
