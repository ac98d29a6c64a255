/**
 * Limit headers: what a client may still ask for.
 *
 *   RateLimit, RateLimit-Policy   draft-ietf-httpapi-ratelimit-headers-08 and later: a list of policies, each a string
 *                                 with its quota `q` in a window of `w` seconds; of the policy that is nearest to its
 *                                 end what remains, `r`, and the seconds until it is whole again, `t`
 *   X-RateLimit-*                 the older three; Reset in seconds since 1970
 */
import { flat } from '../../http/wire-text.ts';
import type { Verdict, Window } from '../limits/limiter.ts';

/** Names that a page's script may read of an answer of another origin. */
export const exposedHeaders =
  'Accept-Ranges, Allow, Content-Disposition, Content-Range, ETag, RateLimit, RateLimit-Policy, Retry-After, X-Cache, ' +
  'X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id';

const policyOf = ({ policy, limit, windowS }: Window): string => `"${policy}";q=${limit};w=${windowS}`;
/** Windows are kept for many requests. */
const policies = new WeakMap<readonly Window[], string>();

function policiesOf(windows: readonly Window[]): string {
  let text = policies.get(windows);
  if (text === undefined) {
    text = windows.map(policyOf).join(', ');
    policies.set(windows, text);
  }
  return text;
}

/** Of the answer before, on this thread: refusals of a flood have the same lines for a second. */
let last: { readonly windows: readonly Window[]; readonly window: Window } | undefined;
let before = '';
let between = '';
let remains = -1;
let wholeInS = 0;
let wholeAtS = 0;
let lines = '';

/**
 * All of them as further lines of a head, each behind the end of the line before. Nothing in the text comes from a
 * client. `nowMs`: by the wall clock, because Reset is a time of day.
 */
export function limitLines(windows: readonly Window[], verdict: Verdict, nowMs: number): string {
  const { window, remaining, resetMs } = verdict;
  const inS = Math.ceil(resetMs / 1000);
  const atS = Math.ceil((nowMs + resetMs) / 1000);
  if (windows !== last?.windows || window !== last.window) {
    last = { windows, window };
    before = flat(`\r\nRateLimit: "${window.policy}";r=`);
    between = flat(
      `\r\nRateLimit-Policy: ${policiesOf(windows)}\r\nX-RateLimit-Limit: ${window.limit}\r\nX-RateLimit-Remaining: `,
    );
    remains = -1;
  }
  if (remaining !== remains || inS !== wholeInS || atS !== wholeAtS) {
    remains = remaining;
    wholeInS = inS;
    wholeAtS = atS;
    lines = `${before}${remaining};t=${inS}${between}${remaining}\r\nX-RateLimit-Reset: ${atS}`;
  }
  return lines;
}
