/**
 * Wanted: a message as a client asks for it, read from the body of POST /v1/sms/send or from an item of a batch, and
 * checked. What does not hold is refused with INPUT_REFUSED, which names the member.
 */
import { hash } from 'node:crypto';
import { shown } from '../../http/answer.ts';
import { serviceErrors } from '../../service/errors.ts';
import { callbackUrlProblem } from '../callbacks/callback-url.ts';
import { isNumber } from '../message/number.ts';
import { measure } from '../message/segments.ts';
import { isCustomerId, type Lane } from '../model.ts';
import type { AcceptConfig } from './config.ts';

export interface Wanted {
  readonly customerId: string;
  /** E.164 with the plus. */
  readonly to: string;
  readonly text: string;
  readonly segments: number;
  /** '': the operator's own. */
  readonly sender: string;
  /** Undefined: the customer's. */
  readonly lane: Lane | undefined;
  readonly validityS: number;
  readonly callbackUrl: string | undefined;
  readonly key: string | undefined;
  /** Of all that makes the message, so that a key is not taken for another one. Undefined without a key. */
  readonly fingerprint: Buffer | undefined;
}

export type WantedLimits = Pick<AcceptConfig, 'maxMessageLength' | 'validityS'>;

const members = new Set([
  'customer_id',
  'to',
  'text',
  'sender',
  'type',
  'idempotency_key',
  'validity_s',
  'callback_url',
]);

/** A number, a short code, or up to 11 characters that every operator takes. */
const SENDER = /^(?:\+?\d{3,15}|[A-Za-z0-9 ._-]{1,11})$/;
const KEY_LENGTH_MAX = 255;
const VALIDITY_S_MAX = 604_800;

type Body = Readonly<Record<string, unknown>>;

const invalid = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });
const found = (value: unknown): string =>
  value === undefined ? 'nothing' : shown(typeof value === 'string' ? value : JSON.stringify(value));

/**
 * Reads a message. `customerId`: of the caller's key, where the body may leave it out. `headerKey`: the header
 * Idempotency-Key, '' for none. Throws INPUT_REFUSED.
 */
export function readWanted(
  body: unknown,
  customerId: string | undefined,
  headerKey: string,
  limits: WantedLimits,
): Wanted {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalid(`a message must be an object: found=${found(body)}`);
  const given = body as Body;
  for (const name in given) {
    if (!members.has(name))
      throw invalid(`a member of a message must be one of ${[...members].join(', ')}: found=${shown(name)}`);
  }
  const to = numberOf(given['to']);
  const text = textOf(given['text'], limits.maxMessageLength);
  const sender = senderOf(given['sender']);
  const lane = laneOf(given['type']);
  const validityS = validityOf(given['validity_s'], limits.validityS);
  const callbackUrl = urlOf(given['callback_url']);
  const key = keyOf(given['idempotency_key'], headerKey);
  return {
    customerId: customerOf(given['customer_id'] === undefined ? customerId : given['customer_id']),
    to,
    text,
    segments: measure(text).segments,
    sender,
    lane,
    validityS,
    callbackUrl,
    key,
    fingerprint:
      key === undefined
        ? undefined
        : hash('sha256', JSON.stringify([to, text, sender, lane, given['validity_s'], callbackUrl]), 'buffer'),
  };
}

function customerOf(value: unknown): string {
  if (typeof value === 'string' && isCustomerId(value)) return value;
  throw invalid(`customer_id must be 1 to 64 of A-Z a-z 0-9 . _ -: found=${found(value)}`);
}

function numberOf(value: unknown): string {
  if (typeof value === 'string' && isNumber(value)) return value;
  throw invalid(`to must be a phone number in E.164, like +989121234567: found=${found(value)}`);
}

function textOf(value: unknown, lengthMax: number): string {
  if (typeof value !== 'string' || value === '')
    throw invalid(`text must have at least one character: found=${found(value)}`);
  if (value.length > lengthMax)
    throw invalid(`text must have at most ${lengthMax} UTF-16 units: found=${value.length}`);
  // Postgres keeps neither, and no phone shows them.
  if (value.includes('\0') || !value.isWellFormed())
    throw invalid('text must be Unicode without U+0000 and without half a surrogate pair');
  return value;
}

function senderOf(value: unknown): string {
  if (value === undefined || value === '') return '';
  if (typeof value === 'string' && SENDER.test(value)) return value;
  throw invalid(
    `sender must be 3 to 15 digits, or at most 11 letters, digits, spaces and . _ -: found=${found(value)}`,
  );
}

function laneOf(value: unknown): Lane | undefined {
  if (value === undefined || value === 'normal' || value === 'express') return value;
  throw invalid(`type must be normal or express: found=${found(value)}`);
}

function validityOf(value: unknown, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= VALIDITY_S_MAX) return value;
  throw invalid(`validity_s must be a whole number from 1 to ${VALIDITY_S_MAX}: found=${found(value)}`);
}

function urlOf(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw invalid(`callback_url must be a text: found=${found(value)}`);
  const problem = callbackUrlProblem(value);
  if (problem !== undefined) throw invalid(problem);
  return value;
}

function keyOf(inBody: unknown, inHeader: string): string | undefined {
  const value = inBody !== undefined ? inBody : inHeader === '' ? undefined : inHeader;
  if (value === undefined) return undefined;
  if (inBody !== undefined && inHeader !== '' && inBody !== inHeader)
    throw invalid('idempotency_key and the header Idempotency-Key must be the same, or one of them left out');
  if (typeof value === 'string' && /^[\x21-\x7e]+$/.test(value) && value.length <= KEY_LENGTH_MAX) return value;
  throw invalid(
    `an idempotency key must be 1 to ${KEY_LENGTH_MAX} printable ASCII characters without spaces: found=${found(value)}`,
  );
}
