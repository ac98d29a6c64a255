/** Usage: what a user has used in a month against its quota, as bars. */
import { h } from '../../web/dom.ts';
import type { QuotaLimits } from '../database/admin/contract.ts';
import { bytes, compact } from './format.ts';

/** Of GET /api/v1/usage. */
export interface Usage {
  readonly requests: number;
  readonly bytes: number;
}

function bar(label: string, used: number, most: number | null, format: (value: number) => string): HTMLElement {
  const part = most === null ? 0 : most === 0 ? 1 : Math.min(1, used / most);
  const tone = most === null ? 'none' : part >= 1 ? 'full' : part >= 0.8 ? 'near' : 'fine';
  const percent = most === null ? '' : `${Math.floor(part * 100)}%`;
  const said = most === null ? `${format(used)}, no limit` : `${format(used)} of ${format(most)}`;
  const fillBar = h('span', { class: 'meter-fill' });
  fillBar.style.setProperty('--part', String(part));
  return h(
    'div',
    { class: `meter ${tone}` },
    h(
      'div',
      { class: 'meter-text' },
      h('span', {}, label),
      h('span', { class: 'meter-value' }, said),
      percent !== '' && h('b', {}, percent),
    ),
    h(
      'div',
      {
        class: 'meter-track',
        role: 'meter',
        'aria-label': label,
        'aria-valuemin': 0,
        'aria-valuemax': 100,
        'aria-valuenow': Math.floor(part * 100),
        'aria-valuetext': said,
      },
      fillBar,
    ),
  );
}

export function usageBars(usage: Usage, quota: QuotaLimits): HTMLElement {
  return h(
    'div',
    { class: 'meters' },
    bar('Requests', usage.requests, quota.monthly_requests, compact),
    bar('Bytes', usage.bytes, quota.monthly_bytes, bytes),
  );
}
