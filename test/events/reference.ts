/**
 * Reference: the event model by the book, in plain objects and strings, slow and short enough to be checked by eye. It shares no code
 * with src/events but the names of the types. The encoders must write byte for byte the line it writes.
 */
import type { Origin } from '../../src/events/origin.ts';
import type { PixelInput } from '../../src/events/pixel-encoder.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const RFC3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/i;

/** What the encoder made by itself, read from its output. */
export interface Made {
  eventId: string;
  sid: string;
}

/** A name's value: a string, or all of them when it came more than once. */
type Named = Map<string, string | string[]>;

/** Pairs of an application/x-www-form-urlencoded text, after the URL standard. */
export function formPairs(text: string): [string, string][] {
  const decode = (piece: string): string => {
    const raw = Buffer.from(piece.replaceAll('+', ' '));
    const bytes: number[] = [];
    for (let i = 0; i < raw.length; i += 1) {
      const hex = raw.toString('latin1', i + 1, i + 3);
      if (raw[i] === 0x25 && /^[0-9a-f]{2}$/i.test(hex)) {
        bytes.push(Number.parseInt(hex, 16));
        i += 2;
      } else bytes.push(raw[i]!);
    }
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes));
  };
  return text
    .split('&')
    .filter((piece) => piece !== '')
    .map((piece) => {
      const equals = piece.indexOf('=');
      return equals < 0 ? [decode(piece), ''] : [decode(piece.slice(0, equals)), decode(piece.slice(equals + 1))];
    });
}

/** Ms of an RFC 3339 time, NaN when it is none. Leap seconds are the kernel's own test. */
function instant(text: string): number {
  const [, main, fraction = '', zone] = RFC3339.exec(text) ?? [];
  if (main === undefined || main.slice(11, 13) === '24') return Number.NaN;
  const day = Number(main.slice(8, 10));
  const ms = Date.parse(`${main}.${fraction.slice(0, 3).padEnd(3, '0')}${zone}`.toUpperCase());
  // Date.parse takes the 31st of February.
  const inUtc = new Date(Date.parse(`${main}Z`.toUpperCase()));
  return inUtc.getUTCDate() === day ? ms : Number.NaN;
}

/** Ms of a number since 1970, NaN when it is none that may be a time. */
function epoch(text: string): number {
  if (text.length > 32 || !/^\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text)) return Number.NaN;
  const value = Number(text);
  if (value >= 1e11 && value < 1e14) return Math.floor(value);
  return value >= 1e8 && value < 1e11 ? Math.floor(Math.round(value * 1e6) / 1e3) : Number.NaN;
}

const isoOf = (ms: number): string => new Date(ms).toISOString();

const quoted = (text: string): string => JSON.stringify(text);

function namedJson(named: Named): string {
  return `{${[...named].map(([name, value]) => `${quoted(name)}:${JSON.stringify(value)}`).join(',')}}`;
}

/** One line: texts that are empty or undefined and objects that are empty or undefined are left out. */
function line(texts: [string, string | undefined][], objects: [string, string | undefined][]): string {
  const parts = [
    ...texts.filter(([, text]) => text).map(([key, text]) => `${quoted(key)}:${quoted(text!)}`),
    ...objects.filter(([, json]) => json !== undefined && json !== '{}').map(([key, json]) => `${quoted(key)}:${json}`),
  ];
  return `{${parts.join(',')}}`;
}

export function referencePixel(input: PixelInput, made: Made): string {
  const known = new Map<string, string>();
  const utm: Named = new Map();
  const rest: Named = new Map();
  const keep = (name: string, value: string): void => {
    const before = rest.get(name);
    if (before === undefined) rest.set(name, value);
    else rest.set(name, typeof before === 'string' ? [before, value] : [...before, value]);
  };
  const isCampaign = (name: string): boolean => name.startsWith('utm_') && name !== 'utm_';
  for (const [name, value] of formPairs(input.query)) {
    if (['event_id', 'ts', 'e', 'uid', 'sid', 'url', 'ref'].includes(name)) {
      if (value !== '' && !known.has(name)) known.set(name, value);
    } else if (isCampaign(name)) {
      if (value !== '' && !utm.has(name.slice(4))) utm.set(name.slice(4), value);
    } else keep(name, value);
  }
  const id = known.get('event_id');
  if (id !== undefined && !UUID.test(id)) keep('event_id', id);
  const ts = known.get('ts');
  const tsMs = ts === undefined ? Number.NaN : Number.isNaN(instant(ts)) ? epoch(ts) : instant(ts);
  if (ts !== undefined && Number.isNaN(tsMs)) keep('ts', ts);
  const url = known.get('url') ?? input.referer.toWellFormed();
  const urlQuery = /^[^?#]*\?([^#]*)/.exec(url)?.[1] ?? '';
  for (const [name, value] of formPairs(urlQuery)) {
    if (isCampaign(name) && value !== '' && !utm.has(name.slice(4))) utm.set(name.slice(4), value);
  }
  const personal = (text: string | undefined): string | undefined => (input.anonymous ? undefined : text);
  return line(
    [
      ['event_id', id !== undefined && UUID.test(id) ? id.toLowerCase() : made.eventId],
      ['ts', isoOf(Number.isNaN(tsMs) ? input.receivedMs : tsMs)],
      ['e', known.get('e') ?? 'pageview'],
      ['uid', personal(known.get('uid'))],
      ['sid', personal(known.get('sid') ?? (input.cookieSid.toWellFormed() || (input.mintSid ? made.sid : undefined)))],
      ['url', url],
      ['ref', known.get('ref')],
      ['ua', personal(input.userAgent.toWellFormed())],
      ['ip', personal(input.ip.toWellFormed())],
    ],
    [
      ['utm', namedJson(utm)],
      ['geo', input.geo?.toString()],
      ['props', namedJson(rest)],
      ['device', input.device?.toString()],
    ],
  );
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** The same value with U+FFFD for every lone surrogate, in names, too. */
export function wellFormed(value: Json): Json {
  if (typeof value === 'string') return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key.toWellFormed(), wellFormed(inner)]));
}

/** How many containers lie within each other. */
export function depthOf(value: Json): number {
  if (value === null || typeof value !== 'object') return 0;
  let deepest = 0;
  for (const inner of Object.values(value)) deepest = Math.max(deepest, depthOf(inner));
  return deepest + 1;
}

/** How many containers lie within each other in a JSON text, those that JSON.parse drops included. */
export function nestingOf(json: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [mark] of json.replaceAll(/"(?:[^"\\]|\\.)*"/gs, '').matchAll(/[[{\]}]/g)) {
    depth += '[{'.includes(mark) ? 1 : -1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

/** Whether an object of a JSON text has two equal names: counted in the text and in what JSON.parse makes of it. */
export function hasTwins(json: string): boolean {
  const inText = [...json.matchAll(/"(?:[^"\\]|\\.)*"\s*(:?)/gs)].filter(([, colon]) => colon === ':').length;
  const count = (value: Json): number =>
    value === null || typeof value !== 'object'
      ? 0
      : Object.values(value).reduce<number>(
          (sum, inner) => sum + count(inner),
          Array.isArray(value) ? 0 : Object.keys(value).length,
        );
  return inText !== count(JSON.parse(json) as Json);
}

/** A JSON number as it is spelled: JSON.parse cannot tell 1.0 from 1, and a key of the line keeps the difference. */
class Spelled {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Parsed = Json | Spelled;

/** The values of an item's own keys and of its utm, their numbers as they are spelled. */
function spelledNumbers(this: unknown, _key: string, value: Parsed, { source }: { source?: string } = {}): Parsed {
  return typeof value === 'number' ? new Spelled(source!) : value;
}

/** What becomes of a body: 'malformed', 'no events', or per item an event as a value, or the field that makes it bad. */
export function referenceCollect(
  body: string,
  origin: Origin,
  made: Made[],
  depthMax: number,
): 'malformed' | 'no events' | (Json | { bad: string })[] {
  const text = body.replace(/^\ufeff/, '');
  let parsed: Json;
  try {
    parsed = JSON.parse(text) as Json;
  } catch {
    return 'malformed';
  }
  if (parsed === null || typeof parsed !== 'object') return 'no events';
  const parse = JSON.parse as (text: string, reviver: typeof spelledNumbers) => Json;
  const spelled = parse(text, spelledNumbers);
  const arrayOf = (value: Json): Json[] => {
    if (Array.isArray(value)) return value;
    const own = value as { [key: string]: Json };
    const arrays = ['batch', 'events'].filter((key) => Object.hasOwn(own, key) && Array.isArray(own[key]));
    return taken.some((key) => Object.hasOwn(own, key)) || arrays.length !== 1 ? [value] : (own[arrays[0]!] as Json[]);
  };
  const spelledItems = arrayOf(spelled);
  return arrayOf(parsed).map((item, index) => {
    if (item === null || typeof item !== 'object' || Array.isArray(item)) return { bad: 'event' };
    const deep = depthOf(item) > depthMax;
    return referenceItem(
      wellFormed(item),
      spelledItems[index] as { [key: string]: Parsed },
      deep,
      origin,
      made[index]!,
    );
  });
}

const texts = ['event_id', 'ts', 'e', 'uid', 'sid', 'url', 'ref', 'ua'];
const taken = [...texts, 'utm', 'props'];

/** A string of a text key, a number's spelling; undefined for all else. */
function scalarText(value: Parsed | undefined): string | undefined {
  if (typeof value === 'string') return value.toWellFormed();
  return value instanceof Spelled ? value.text : undefined;
}

const objectOf = (value: Parsed | undefined): { [key: string]: Parsed } =>
  value === null || typeof value !== 'object' || Array.isArray(value) || value instanceof Spelled ? {} : value!;

function referenceItem(
  whole: Json,
  spelled: { [key: string]: Parsed },
  deep: boolean,
  origin: Origin,
  made: Made,
): Json | { bad: string } {
  const item = whole as { [key: string]: Json };
  if (!deep && !taken.some((key) => Object.hasOwn(item, key))) return { bad: 'event' };
  const id = item['event_id'] ?? undefined;
  if (id !== undefined && typeof id !== 'string') return { bad: 'event_id' };
  if (deep) return { bad: 'event' };
  if (id !== undefined && !UUID.test(id)) return { bad: 'event_id' };
  const text = (key: string): string | undefined => scalarText(Object.hasOwn(spelled, key) ? spelled[key] : undefined);
  const ts = text('ts');
  const tsMs = ts === undefined ? Number.NaN : Number.isNaN(instant(ts)) ? epoch(ts) : instant(ts);
  const utm: { [key: string]: Json } = {};
  for (const [key, value] of Object.entries(objectOf(spelled['utm']))) {
    const term = scalarText(value);
    if (term !== undefined) Object.defineProperty(utm, key.toWellFormed(), { value: term, enumerable: true });
  }

  const personal = (value: string | undefined): string | undefined => (origin.anonymous ? undefined : value);
  const event: { [key: string]: Json } = {};
  const put = (key: string, value: string | undefined): void => {
    if (value) event[key] = value;
  };
  put('event_id', id?.toLowerCase() ?? made.eventId);
  put('ts', isoOf(Number.isNaN(tsMs) ? origin.receivedMs : tsMs));
  put('e', text('e') || 'pageview');
  put('uid', personal(text('uid')));
  put('sid', personal(text('sid') || origin.cookieSid.toWellFormed() || (origin.mintSid ? made.sid : undefined)));
  put('url', text('url'));
  put('ref', text('ref'));
  put('ua', personal(text('ua') || origin.userAgent.toWellFormed()));
  put('ip', personal(origin.ip.toWellFormed()));
  if (Object.keys(utm).length > 0) event['utm'] = utm;
  if (origin.geo !== undefined) event['geo'] = JSON.parse(origin.geo.toString());
  const own = [...taken, 'ip', 'geo'];
  const moved = Object.entries(item).filter(
    ([key]) => !own.includes(key) || (key === 'ts' && ts !== undefined && ts !== '' && Number.isNaN(tsMs)),
  );
  const props = [...moved, ...(Object.entries(objectOf(item['props'])) as [string, Json][])];
  if (props.length > 0) event['props'] = Object.fromEntries(props);
  if (origin.device !== undefined) event['device'] = JSON.parse(origin.device.toString());
  return event;
}
