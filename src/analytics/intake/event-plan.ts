/**
 * Event plan: the members of a line (event.ts) as tables of numbers and ready bytes, made once at start-up.
 *
 *   fields      what a client may set, numbered in the order of the line
 *   fragments   the bytes that stand before a value: {"event_id":"   ,"site_id":"   ,"props":
 *   key table   which field a name is
 *
 * All utm_ names begin alike and some are equally long, so they have a table of their own, asked for the rest of the
 * name.
 */
import { KeyTable } from '../../events/key-table.ts';
import { ISO_BYTES } from '../../kernel/timestamp.ts';
import { type EventKey, eventKeys, limits, utmKeys } from '../event.ts';
import { RECEIPT_BYTES } from './receipts.ts';

/** Field number by key. */
export const E = Object.fromEntries(eventKeys.map((key, field) => [key, field])) as Readonly<Record<EventKey, number>>;
export const FIELDS: number = eventKeys.length;

const setOf = (keys: readonly EventKey[]): number => keys.reduce((set, key) => set | (1 << E[key]), 0);
/** Texts in which a number is taken by its digits, and any other value counts as absent. */
export const softSet: number = setOf(['path', 'user_id', 'url', 'referrer', 'title', ...utmKeys]);
/** Texts that stand behind the id and before the times. */
export const whoSet: number = setOf(['site_id', 'event_type', 'path', 'user_id']);
/** Texts that stand behind the visitor and before props. */
export const pageSet: number = setOf(['url', 'referrer', 'title']);
export const utmSet: number = setOf(utmKeys);

/** By field: the most characters; those of softSet but user_id are cut there. */
export const charsMax: Int32Array = new Int32Array(FIELDS).fill(limits.text);
charsMax[E.site_id] = limits.siteId;
charsMax[E.event_type] = limits.eventType;
charsMax[E.user_id] = limits.userId;

const UTM = 'utm_';
const others = eventKeys.filter((key) => !key.startsWith(UTM));
const known = new KeyTable(others);
const knownField = Uint8Array.from(others, (key) => E[key]);
const campaign = new KeyTable(utmKeys.map((key) => key.slice(UTM.length)));
const utmWord = Buffer.from(UTM).readInt32LE(0);

/** The field that [from, to) names, -1 for none. May read up to three bytes past `to`. */
export function fieldAt(view: DataView, from: number, to: number): number {
  if (to - from > UTM.length && view.getInt32(from, true) === utmWord) return utmFieldAt(view, from + UTM.length, to);
  const index = known.find(view, from, to);
  return index === -1 ? -1 : knownField[index]!;
}

/** The same for a name without its utm_. */
export function utmFieldAt(view: DataView, from: number, to: number): number {
  const index = campaign.find(view, from, to);
  return index === -1 ? -1 : E.utm_source + index;
}

/** Numbers of fragments behind those of the fields. */
export const RECEIVED_AT: number = FIELDS;
export const VISITOR: number = FIELDS + 1;
/** The end of a line, behind what the request gives. */
export const VIA: number = FIELDS + 2;

const lineKeys = [...eventKeys, 'received_at', 'visitor'];
const fragmentTexts = [
  ...lineKeys.map((key) => `${key === 'event_id' ? '{' : ','}"${key}":${key === 'props' ? '' : '"'}`),
  ',"via":"events"}\n',
];
const FRAGMENT_WORDS = 5;
const fragmentBytes = Int32Array.from(fragmentTexts, (text) => text.length);
if (Math.max(...fragmentBytes) > 4 * FRAGMENT_WORDS) throw new Error(`a key is too long: ${fragmentTexts.join(' ')}`);
const fragments = Buffer.from(fragmentTexts.map((text) => text.padEnd(4 * FRAGMENT_WORDS)).join(''), 'latin1');
const fragmentWords = Int32Array.from({ length: fragments.length / 4 }, (_, i) => fragments.readInt32LE(4 * i));

/** Writes the fragment before a value; returns the end. Always writes three words, since most fit them. */
export function putFragment(field: number, target: DataView, at: number): number {
  const words = fragmentWords;
  const bytes = fragmentBytes[field]!;
  const word = field * FRAGMENT_WORDS;
  target.setInt32(at, words[word]!, true);
  target.setInt32(at + 4, words[word + 1]!, true);
  target.setInt32(at + 8, words[word + 2]!, true);
  for (let done = 12; done < bytes; done += 4) target.setInt32(at + done, words[word + (done >> 2)]!, true);
  return at + bytes;
}

/** Bytes of all fragments, with closing quotes and the ids and times of a line. */
export const emptyLineBytes: number =
  fragmentTexts.join('').length + lineKeys.length + 36 + ISO_BYTES + RECEIPT_BYTES + 32 + 4 * FRAGMENT_WORDS;
