/** How a message stands in submit_sm: its segments, their alphabet and user data header, and addresses. */
import { septetsOf } from '../../message/gsm7.ts';
import { partsOf } from '../../message/segments.ts';
import type { Address } from './pdu.ts';

/** data_coding (5.2.19): the default alphabet of the SMSC, which is taken to be GSM 03.38; UCS-2. */
const CODINGS = { gsm7: 0, ucs2: 8 } as const;

export interface Segments {
  readonly dataCoding: number;
  /** True: each begins with a user data header. */
  readonly linked: boolean;
  readonly bodies: readonly Buffer[];
}

/**
 * The segments of a text. Characters of GSM-7 are an octet each (unpacked; the SMSC packs them). `reference` (0 to 255)
 * tells the segments of one message from those of another to the same phone.
 */
export function segmentsOf(text: string, reference: number): Segments {
  const { alphabet, parts } = partsOf(text);
  const bodies = parts.map((part) => (alphabet === 'gsm7' ? Buffer.from(septetsOf(part)) : ucs2(part)));
  const linked = bodies.length > 1;
  return {
    dataCoding: CODINGS[alphabet],
    linked,
    bodies: linked ? bodies.map((body, i) => Buffer.concat([header(reference, bodies.length, i + 1), body])) : bodies,
  };
}

/** Concatenated short messages, 8-bit reference (3GPP TS 23.040, 9.2.3.24.1). */
const header = (reference: number, total: number, number: number): Buffer =>
  Buffer.from([5, 0, 3, reference, total, number]);

/** Big-endian UTF-16. */
const ucs2 = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();

const UNKNOWN = 0;
const INTERNATIONAL = 1;
const ALPHANUMERIC = 5;
const ISDN = 1;

export const destinationOf = (to: string): Address => ({ ton: INTERNATIONAL, npi: ISDN, text: to.replace(/^\+/, '') });

export function sourceOf(sender: string): Address {
  if (sender === '') return { ton: UNKNOWN, npi: UNKNOWN, text: '' };
  if (/^\+\d+$/.test(sender)) return { ton: INTERNATIONAL, npi: ISDN, text: sender.slice(1) };
  if (/^\d+$/.test(sender)) return { ton: UNKNOWN, npi: ISDN, text: sender };
  return { ton: ALPHANUMERIC, npi: UNKNOWN, text: sender };
}

const VALIDITY_S_MAX = 30 * 86_400;

/** validity_period, as a relative time: YYMMDDhhmmss000R (7.1.1.2). At least a second. */
export function validityOf(leftMs: number): string {
  const seconds = Math.min(VALIDITY_S_MAX, Math.max(1, Math.round(leftMs / 1000)));
  const parts = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
    seconds % 60,
  ];
  return `0000${parts.map((part) => String(part).padStart(2, '0')).join('')}000R`;
}
