/** Refusals: the last requests that were not served, and why. */

import type { View } from '../../web/admin-page.ts';
import { get } from '../../web/api.ts';
import { h } from '../../web/dom.ts';
import { Box, badge, card, empty } from '../../web/parts.ts';
import type { LogEntry, LogsPage } from '../logs/contract.ts';
import { ago, moment } from './format.ts';

const SHOWN = 12;
const ASKED = 50;
/** Of which classes, the newest of both. */
const classes = ['4xx', '5xx'] as const;

export function refusalsView(): View {
  const box = new Box<readonly LogEntry[]>(
    async (signal) => {
      const pages = await Promise.all(
        classes.map((status) => get<LogsPage>(`/api/v1/logs?status=${status}&limit=${ASKED}`, signal)),
      );
      return pages.flatMap(({ items }) => items).sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    },
    (items) =>
      items.length === 0
        ? empty('Nothing was refused', 'Requests that are not served show up here, with the reason.')
        : h('ol', { class: 'refusals' }, grouped(items).slice(0, SHOWN).map(itemOf)),
    6,
  );
  void box.load();
  return {
    element: card('Recent refusals', undefined, box.element),
    ticks: 2,
    refresh: () => box.tick(),
    leave: () => box.stop(),
  };
}

interface Group {
  readonly entry: LogEntry;
  readonly times: number;
}

/** What was refused for the same reason, one after the other, is one line with the newest of them. */
function grouped(entries: readonly LogEntry[]): readonly Group[] {
  const groups: Group[] = [];
  const nameOf = ({ response_status, method, request_path, outcome, user_id, client_ip }: LogEntry) =>
    JSON.stringify([response_status, method, request_path, outcome, user_id, client_ip]);
  for (const entry of entries) {
    const last = groups.at(-1);
    if (last !== undefined && nameOf(last.entry) === nameOf(entry))
      groups[groups.length - 1] = { entry: last.entry, times: last.times + 1 };
    else groups.push({ entry, times: 1 });
  }
  return groups;
}

function itemOf({ entry, times }: Group): HTMLElement {
  const { response_status: status, method, request_path: path, outcome, created_at: at, client_ip: address } = entry;
  const who =
    entry.user_id === null
      ? (address ?? 'unknown')
      : h('a', { href: `#user/${entry.user_id}` }, `user ${entry.user_id}`);
  return h(
    'li',
    { class: 'refusal' },
    badge(String(status), status >= 500 ? 'bad' : 'warn'),
    h(
      'div',
      { class: 'refusal-text' },
      h('code', { class: 'path', title: path }, `${method} ${path}`),
      h(
        'span',
        { class: 'hint' },
        outcome.replaceAll('_', ' '),
        times > 1 && `, ${times} times`,
        ' · ',
        who,
        ' · ',
        h('time', { datetime: at, title: moment(at) }, ago(at)),
      ),
    ),
  );
}
