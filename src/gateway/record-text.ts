/**
 * Record text: the line of a request's record (record.ts), put together from its id and four pieces: who, what, how and
 * from where. Each piece is kept until a request has another one. In a flood most of them stay, and a text of five
 * pieces is made, and made flat, in less than half of the time of one of thirty.
 */
import { flat } from '../http/wire-text.ts';
import type { RequestRecord } from './record.ts';

/** A request's target beyond this is cut in the log: a head may have 32 KiB, and a record has 64. */
const PATH_CHARS_MAX = 8192;
const NEEDS_ESCAPES = /["\\\u0000-\u001f]/;

const quoted = (text: string): string => (NEEDS_ESCAPES.test(text) ? JSON.stringify(text) : `"${text}"`);

type Who = Pick<RequestRecord, 'userId' | 'keyId' | 'backendId'>;
type What = Pick<RequestRecord, 'method' | 'target'>;
type How = Pick<RequestRecord, 'status' | 'outcome' | 'bytesIn' | 'bytesOut'> & { readonly ms: number };
type From = Pick<RequestRecord, 'address' | 'month'>;

const whoText = ({ userId, keyId, backendId }: Who): string =>
  flat(
    `{"user":${userId ?? null},"key":${keyId === undefined ? null : `"${keyId}"`},"backend":${backendId ?? null},"id":"`,
  );

function whatText({ method, target }: What): string {
  const path = target.length > PATH_CHARS_MAX ? target.slice(0, PATH_CHARS_MAX) : target;
  return flat(`","method":"${method}","path":${quoted(path)},"status":`);
}

const howText = ({ status, outcome, ms, bytesIn, bytesOut }: How): string =>
  flat(`${status},"outcome":"${outcome}","ms":${ms},"in":${bytesIn},"out":${bytesOut},"ip":`);

const fromText = ({ address, month }: From): string =>
  flat(`${address === '' ? null : `"${address}"`},"month":${month ?? null}}`);

// Those of the record before, on this thread.
let who: Who = { userId: undefined, keyId: undefined, backendId: undefined };
let whoIs = whoText(who);
let what: What = { method: '', target: '' };
let whatIs = whatText(what);
let how: How = { status: 0, outcome: '', ms: 0, bytesIn: 0, bytesOut: 0 };
let howIs = howText(how);
let from: From = { address: '', month: undefined };
let fromIs = fromText(from);

/** A line of JSON. */
export function recordText(record: RequestRecord): string {
  const { userId, keyId, backendId, method, target, status, outcome, bytesIn, bytesOut, address, month } = record;
  const ms = Math.round(record.durationMs);
  if (userId !== who.userId || keyId !== who.keyId || backendId !== who.backendId) {
    who = { userId, keyId, backendId };
    whoIs = whoText(who);
  }
  if (target !== what.target || method !== what.method) {
    what = { method, target };
    whatIs = whatText(what);
  }
  if (
    outcome !== how.outcome ||
    status !== how.status ||
    bytesOut !== how.bytesOut ||
    bytesIn !== how.bytesIn ||
    ms !== how.ms
  ) {
    how = { status, outcome, ms, bytesIn, bytesOut };
    howIs = howText(how);
  }
  if (address !== from.address || month !== from.month) {
    from = { address, month };
    fromIs = fromText(from);
  }
  return whoIs + record.requestId + whatIs + howIs + fromIs;
}
