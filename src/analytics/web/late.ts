/**
 * Late: says, once for the whole page, that figures are older than they look, because they could not be asked for again.
 * Each box says when its own are of; the oldest time is shown until all of them are refreshed.
 */
import { fill, h } from '../../web/dom.ts';
import { clockText } from './format.ts';

const late = new Map<object, { readonly atMs: number; readonly why: string }>();
export const lateBar = h('div', { class: 'late', role: 'status' });
let shown = '';

function draw(): void {
  const oldest = [...late.values()].reduce<{ atMs: number; why: string } | undefined>(
    (found, one) => (found === undefined || one.atMs < found.atMs ? one : found),
    undefined,
  );
  const text =
    oldest === undefined ? '' : `As of ${clockText(new Date(oldest.atMs).toISOString())}, not refreshed since.`;
  // A screen reader hears it once.
  if (text === shown) return;
  shown = text;
  fill(lateBar, oldest !== undefined && [h('strong', {}, text), ' ', oldest.why]);
}

/** `who` shows what was true at this time, by the wall clock. */
export function isLate(who: object, atMs: number, why: string): void {
  late.set(who, { atMs, why });
  draw();
}

export function inTime(who: object): void {
  if (late.delete(who)) draw();
}
