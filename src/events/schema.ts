/**
 * The event model, declared once. The order of keys in the line, the keys that each encoder takes, what a reader may
 * expect, SQL columns and the table in pixel/README.md all come from this list. No other file names a key of the line.
 *
 * One event is one JSON object on one line with these keys in this order. A key is there when its value is known: no
 * text is empty, and an empty `utm`, `geo` or `props` is left out.
 *
 *   kind     value in the line                     what a client may send
 *   uuid     string, 36 characters, lower case     any UUID in any case
 *   instant  string, UTC with milliseconds and Z   RFC 3339 with any offset; digits past the millisecond are cut off
 *   text     string, never empty                   string; an empty one counts as absent
 *   texts    object of strings                     GET: parameters that begin with `prefix`; POST: an object of strings
 *   made     object                                nothing: the server makes it and drops a client's value
 *   rest     object                                an object, and every parameter or top-level key of no other field
 */
/** Name of the events that TEST_MODE sends; views and reports leave them out. */
export const TEST_EVENT = 'ringmain_test';

export type FieldKind = 'uuid' | 'instant' | 'text' | 'texts' | 'made' | 'rest';

export interface Field {
  readonly key: string;
  readonly kind: FieldKind;
  /**
   * always: in every line. known: when the value is known. option: only when an option switches the field on; then
   * whenever the value is known.
   */
  readonly presence: 'always' | 'known' | 'option';
  /** Which requests may set it: the pixel's query, the body of /collect. `drop`: a client's value is discarded. */
  readonly pixel: 'take' | 'no';
  readonly collect: 'take' | 'drop' | 'no';
  /** kind text: the value when nobody gives one. */
  readonly default?: string;
  /** Left out of an anonymous event (DNT_MODE=anonymize). */
  readonly personal?: true;
  /** kind texts: parameters of the pixel that begin with this belong here; the key in the object is the rest. */
  readonly prefix?: string;
  /** Column type for a database that stores the event as columns. */
  readonly sql: string;
  readonly doc: string;
}

export const eventFields = [
  {
    key: 'event_id',
    kind: 'uuid',
    presence: 'always',
    pixel: 'take',
    collect: 'take',
    sql: 'uuid',
    doc:
      'Identity of the event; a retry with the same ID is the same event. ' +
      'Generated here (version 7) if the client sends none.',
  },
  {
    key: 'ts',
    kind: 'instant',
    presence: 'always',
    pixel: 'take',
    collect: 'take',
    sql: 'timestamptz',
    doc: 'When it happened, according to the client; otherwise when it was received.',
  },
  {
    key: 'e',
    kind: 'text',
    presence: 'always',
    pixel: 'take',
    collect: 'take',
    default: 'pageview',
    sql: 'text',
    doc: 'What happened.',
  },
  {
    key: 'uid',
    kind: 'text',
    presence: 'known',
    pixel: 'take',
    collect: 'take',
    personal: true,
    sql: 'text',
    doc: 'User ID.',
  },
  {
    key: 'sid',
    kind: 'text',
    presence: 'known',
    pixel: 'take',
    collect: 'take',
    personal: true,
    sql: 'text',
    doc:
      'Session or visitor ID: from the request, else from the cookie, else generated here (`s_` and 128 random bits) ' +
      'if a cookie can carry it back.',
  },
  {
    key: 'url',
    kind: 'text',
    presence: 'known',
    pixel: 'take',
    collect: 'take',
    sql: 'text',
    doc: 'The page. On the pixel, defaults to the Referer header.',
  },
  {
    key: 'ref',
    kind: 'text',
    presence: 'known',
    pixel: 'take',
    collect: 'take',
    sql: 'text',
    doc: 'The previous page.',
  },
  {
    key: 'ua',
    kind: 'text',
    presence: 'known',
    pixel: 'no',
    collect: 'take',
    personal: true,
    sql: 'text',
    doc: 'User-Agent header; a `ua` in the body of /collect takes precedence, for servers that report for a browser.',
  },
  {
    key: 'ip',
    kind: 'text',
    presence: 'known',
    pixel: 'no',
    collect: 'drop',
    personal: true,
    sql: 'text',
    doc: 'Client address, reduced by IP_MODE; never taken from the client.',
  },
  {
    key: 'utm',
    kind: 'texts',
    presence: 'known',
    pixel: 'take',
    collect: 'take',
    prefix: 'utm_',
    sql: 'jsonb',
    doc:
      'Campaign: `utm_source` becomes `utm.source`. On the pixel, those ' +
      'that are not given are taken from the query of `url`.',
  },
  {
    key: 'geo',
    kind: 'made',
    presence: 'known',
    pixel: 'no',
    collect: 'drop',
    sql: 'jsonb',
    doc: 'Country, region, city of the address (GEOIP_DB).',
  },
  {
    key: 'props',
    kind: 'rest',
    presence: 'known',
    pixel: 'no',
    collect: 'take',
    sql: 'jsonb',
    doc: 'Everything else the client sent.',
  },
  {
    key: 'device',
    kind: 'made',
    presence: 'option',
    pixel: 'no',
    collect: 'no',
    sql: 'jsonb',
    doc: 'Browser, operating system, device type, bot or not (UA_PARSE).',
  },
] as const satisfies readonly Field[];

type Fields = (typeof eventFields)[number];
type ValueOf<F extends Field> = F['kind'] extends 'texts'
  ? Record<string, string>
  : F['kind'] extends 'made' | 'rest'
    ? Record<string, unknown>
    : string;

export type EventKey = Fields['key'];

/** One line, read. */
export type EventLine = {
  [F in Extract<Fields, { presence: 'always' }> as F['key']]: ValueOf<F>;
} & {
  [F in Exclude<Fields, { presence: 'always' }> as F['key']]?: ValueOf<F>;
};

/** The value of "e" when nobody gives one. */
export const defaultEvent: string = eventFields.find((field) => field.key === 'e')!.default;

/** Keys of the fields that meet a condition, in line order. */
export const keysWhere = (holds: (field: Field) => boolean): readonly EventKey[] =>
  eventFields.filter((field) => holds(field)).map((field) => field.key);

export interface Column {
  readonly name: EventKey;
  readonly type: string;
  readonly notNull: boolean;
}

/** The event as columns of a table, in line order. */
export const eventColumns: readonly Column[] = eventFields.map((field) => ({
  name: field.key,
  type: field.sql,
  notNull: field.presence === 'always',
}));

/** The event model as a Markdown table for pixel/README.md. */
export function eventModelTable(): string {
  const who = (field: Field): string => {
    const routes = [field.pixel === 'take' || field.prefix ? 'GET' : '', field.collect === 'take' ? 'POST' : ''];
    return routes.filter(Boolean).join(', ') || 'server';
  };
  const rows = eventFields.map(
    (field: Field) => `| \`${field.key}\` | ${field.kind} | ${field.presence} | ${who(field)} | ${field.doc} |`,
  );
  return ['| key | kind | in the line | set by | meaning |', '|---|---|---|---|---|', ...rows].join('\n');
}
