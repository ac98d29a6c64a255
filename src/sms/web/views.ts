/** Views: the cards of the page, each with the question that it shows the answer of. */

import type { View } from '../../web/admin-page.ts';
import { get } from '../../web/api.ts';
import { type Child, h } from '../../web/dom.ts';
import { Box, badge, card, empty, table } from '../../web/parts.ts';
import type {
  CustomerRow,
  LowBalance,
  OperatorReport,
  OperatorRow,
  OperatorStanding,
  Ranged,
  TimeRow,
} from '../reports/contract.ts';
import { barsOf, Chart, partNames, partTitles, totalOf } from './chart.ts';
import { exportTools } from './export.ts';
import { compact, daysLeft, exact, percent, span } from './format.ts';
import { type Period, query, stretchOf } from './period.ts';

const viewOf = <T>(element: HTMLElement, box: Box<T>, leave?: () => void): View => {
  void box.load();
  return {
    element,
    refresh: () => box.tick(),
    leave: () => {
      box.stop();
      leave?.();
    },
  };
};

const sumOf = <R>(rows: readonly R[], value: (row: R) => number): number =>
  rows.reduce((sum, row) => sum + value(row), 0);

/** Messages over time, and what became of them. */
export function trafficView(period: Period): View {
  const chart = new Chart();
  const stretch = () => stretchOf(period, Date.now());
  const box = new Box<Ranged<TimeRow>>(
    (signal) => get(`/v1/reports/${period.report}?${query(stretch())}`, signal),
    ({ rows, from, to }) => {
      if (rows.length === 0)
        return empty('No messages in this time', 'Bars grow here a few seconds after the first message is accepted.');
      const bars = barsOf(rows, period, { from: Date.parse(from), to: Date.parse(to) });
      chart.draw(bars, period);
      const accepted = sumOf(bars, totalOf);
      return [
        chart.element,
        h(
          'ul',
          { class: 'legend' },
          partNames.map((part) => {
            const count = sumOf(bars, (bar) => bar[part]);
            return h(
              'li',
              { class: `legend-item ${part}` },
              h('span', { class: 'legend-name' }, partTitles[part]),
              h('b', { title: exact(count) }, compact(count)),
              h('span', { class: 'hint' }, percent(count, accepted)),
            );
          }),
        ),
      ];
    },
    8,
  );
  const exporting = exportTools(stretch);
  const body = h('div', { class: 'card-body' }, box.element);
  return viewOf(card('Messages', exporting.element, body), box, () => {
    chart.stop();
    exporting.stop();
  });
}

interface Figure {
  readonly name: string;
  readonly value: string;
  readonly note: string;
  readonly tone?: 'good' | 'bad';
}

const figure = ({ name, value, note, tone }: Figure): HTMLElement =>
  h(
    'div',
    { class: 'card figure' },
    h('span', { class: 'figure-name' }, name),
    h('span', { class: `figure-value ${tone ?? ''}` }, value),
    h('span', { class: 'hint' }, note),
  );

function figuresOf({ rows, express_deadline_ms: promised }: OperatorReport): readonly Figure[] {
  const sum = (name: 'accepted' | 'sent' | 'delivered' | 'failed' | 'unknown' | 'cost') =>
    sumOf(rows, (row) => Number(row[name]));
  const express = rows.filter(({ type }) => type === 'express');
  const slowest = Math.max(-1, ...express.map(({ to_operator_ms }) => to_operator_ms.p99 ?? -1));
  const p99 = slowest < 0 ? null : slowest;
  const ended = sum('delivered') + sum('failed') + sum('unknown');
  return [
    { name: 'Accepted', value: compact(sum('accepted')), note: `${compact(sum('cost'))} charged` },
    {
      name: 'Delivered',
      value: percent(sum('delivered'), sum('sent')),
      note: `${compact(sum('delivered'))} of ${compact(sum('sent'))} sent`,
    },
    {
      name: 'Failed or unknown',
      value: percent(sum('failed') + sum('unknown'), ended),
      note: `${compact(sum('failed'))} failed, ${compact(sum('unknown'))} unknown`,
    },
    {
      name: 'Express p99',
      value: span(p99),
      note: p99 === null ? 'no express message was sent' : `to the operator; promised: ${span(promised)}`,
      ...(p99 === null ? {} : { tone: p99 <= promised ? ('good' as const) : ('bad' as const) }),
    },
  ];
}

/** Figures of the period at a glance. */
export function figuresView(period: Period): View {
  const box = new Box<OperatorReport>(
    (signal) => get(`/v1/reports/operators?${query(stretchOf(period, Date.now()))}`, signal),
    (report) => h('div', { class: 'figures' }, figuresOf(report).map(figure)),
    2,
  );
  return viewOf(h('section', { class: 'glance', 'aria-label': 'At a glance' }, box.element), box);
}

/** What is said of an operator by how its messages of the last minutes ended. */
const RECENT_MS = 15 * 60_000;
const TROUBLED = 0.1;
const UNWELL = 0.02;

function stateOf(rows: readonly OperatorRow[]): HTMLElement {
  const sent = sumOf(rows, (row) => row.sent);
  const bad = sumOf(rows, (row) => row.failed + row.unknown);
  if (sent + bad === 0) return badge('idle', 'quiet');
  const share = bad / (sent + bad);
  if (share > TROUBLED) return badge('troubled', 'bad');
  return share > UNWELL ? badge('some fail', 'warn') : badge('well', 'good');
}

interface Operators {
  readonly period: readonly OperatorRow[];
  readonly recent: readonly OperatorRow[];
}

/** Operators: how they are now, and what they did in the period. */
export function operatorsView(period: Period): View {
  const box = new Box<Operators>(
    async (signal) => {
      const ask = (stretch: { from: number; to: number }) =>
        get<Ranged<OperatorRow>>(`/v1/reports/operators?${query(stretch)}`, signal);
      const now = Date.now();
      const [whole, recent] = await Promise.all([
        ask(stretchOf(period, now)),
        ask({ from: now - RECENT_MS, to: now + 1 }),
      ]);
      return { period: whole.rows, recent: recent.rows };
    },
    ({ period: rows, recent }) => {
      const named = rows.filter(({ operator }) => operator !== '');
      if (named.length === 0)
        return empty('No operator has had a message', 'They show up with the first one that is sent.');
      const names = [...new Set(named.map(({ operator }) => operator))];
      return table(
        ['Operator', 'Lane', 'Sent', 'Delivered', 'To operator p50 / p99', 'To handset p50', 'Failed', 'Unknown'],
        names.flatMap((name) =>
          named
            .filter(({ operator }) => operator === name)
            .map((row, i): Child[] => [
              i === 0
                ? h(
                    'span',
                    { class: 'operator' },
                    h('b', {}, name),
                    stateOf(recent.filter(({ operator }) => operator === name)),
                  )
                : h('b', { class: 'again' }, name),
              row.type,
              h('span', { title: exact(row.sent) }, compact(row.sent)),
              percent(row.delivered, row.sent),
              `${span(row.to_operator_ms.p50)} / ${span(row.to_operator_ms.p99)}`,
              span(row.to_handset_ms.p50),
              compact(row.failed),
              compact(row.unknown),
            ]),
        ),
        'Operators',
        'operators',
      );
    },
  );
  return viewOf(card('Operators', undefined, box.element), box);
}

/** Whether workers call an operator, by what they say of its connection and its breaker. */
function standingOf({ workers, up, open }: OperatorStanding): HTMLElement {
  if (up === workers && open === 0) return badge('connected', 'good');
  return badge(open > 0 ? 'breaker open' : 'not connected', up === 0 ? 'bad' : 'warn');
}

/** How operators stand now, whatever was sent: the state of connections and breakers in every worker. */
export function standingView(): View {
  const box = new Box<{ readonly rows: readonly OperatorStanding[] }>(
    (signal) => get('/v1/reports/standing', signal),
    ({ rows }) => {
      if (rows.length === 0)
        return empty(
          'No worker tells of an operator',
          'OPERATORS names none, or no process with the role worker runs.',
        );
      return h(
        'ul',
        { class: 'standings', 'aria-label': 'Operators now' },
        rows.map((row) =>
          h(
            'li',
            { class: 'standing' },
            h('span', { class: 'standing-name', title: row.operator }, row.operator),
            standingOf(row),
            h(
              'span',
              { class: 'hint' },
              `called by ${row.up} of ${row.workers} workers, ${compact(row.in_flight)} messages under way`,
            ),
          ),
        ),
      );
    },
    2,
  );
  return viewOf(card('Operators now', undefined, box.element), box);
}

/** Who sent most: whole days of UTC, the one that runs included. */
const DAY_MS = 86_400_000;

export function topView(period: Period): View {
  const days = period.id === 'month' ? 30 : 1;
  const box = new Box<Ranged<CustomerRow>>(
    (signal) => {
      const to = (Math.floor(Date.now() / DAY_MS) + 1) * DAY_MS;
      return get(`/v1/reports/top?${query({ from: to - days * DAY_MS, to })}&limit=8`, signal);
    },
    ({ rows }) => {
      if (rows.length === 0) return empty('Nobody has sent yet', 'The busiest customers stand here.');
      const most = rows[0]!.accepted;
      return h(
        'ol',
        { class: 'top' },
        rows.map(({ customer_id: id, accepted, delivered, sent }) => {
          const share = h('meter', {
            class: 'share-bar',
            min: 0,
            max: most,
            value: accepted,
            'aria-label': `Share of ${id}`,
          });
          return h(
            'li',
            { class: 'top-row' },
            h('span', { class: 'top-name', title: id }, id),
            h('b', { title: exact(accepted) }, compact(accepted)),
            share,
            h('span', { class: 'hint' }, `${percent(delivered, sent)} delivered`),
          );
        }),
      );
    },
  );
  const title = days === 1 ? 'Busiest today (UTC)' : 'Busiest in 30 days';
  return viewOf(card(title, undefined, box.element), box);
}

const SOON_DAYS = 1;
const NEAR_DAYS = 7;

export function balancesView(): View {
  const box = new Box<{ readonly rows: readonly LowBalance[] }>(
    (signal) => get('/v1/reports/balances?limit=8', signal),
    ({ rows }) => {
      const low = rows.filter(({ days_left }) => days_left !== null);
      if (low.length === 0)
        return empty('No balance runs low', 'Customers that spend stand here, the first to run out on top.');
      return h(
        'ol',
        { class: 'lows' },
        low.map(({ customer_id: id, name, balance, cost_per_day: perDay, days_left: left }) =>
          h(
            'li',
            { class: 'low' },
            h('span', { class: 'low-name', title: id }, name === '' ? id : name),
            badge(daysLeft(left!), left! < SOON_DAYS ? 'bad' : left! < NEAR_DAYS ? 'warn' : 'quiet'),
            h('span', { class: 'hint' }, `${exact(balance)} left, ${compact(perDay)} a day`),
          ),
        ),
      );
    },
  );
  return viewOf(card('Balances that end first', undefined, box.element), box);
}
