/** Period: which days are looked at, and which days they are compared with. */

import { h } from '../../web/dom.ts';
import type { Compare } from '../api/contract.ts';
import type { App } from './app.ts';
import { datesText, periodTitles } from './format.ts';
import { choice, type Popover, popover } from './popover.ts';
import { compares, periods, type View } from './state.ts';

const keys: Readonly<Record<string, string>> = {
  today: 'T',
  yesterday: 'Y',
  '7d': 'W',
  '30d': 'D',
  month: 'M',
  last_month: 'P',
  year: 'J',
  all: 'A',
  custom: 'R',
};
const compareTitles: Readonly<Record<Compare, string>> = {
  previous: 'Previous period',
  year: 'Year before',
  none: 'No comparison',
};
const listed = periods.filter((period) => period !== 'custom');

export const periodText = (view: View): string =>
  view.period === 'custom' ? datesText(view) : periodTitles[view.period];

export interface PeriodMenu extends Popover {
  /** Opens it where dates are typed. */
  openDates(): void;
}

export function periodMenu(app: App): PeriodMenu {
  const menu = popover(
    'Period',
    () => [
      h(
        'div',
        { class: 'choices' },
        listed.map((period) =>
          choice(
            periodTitles[period],
            app.view.period === period,
            () => pick({ ...app.view, period, from: '', to: '' }),
            keys[period],
          ),
        ),
      ),
      customForm(),
    ],
    'period',
  );
  const pick = (view: View) => {
    menu.close();
    // An interval that fits a day does not fit a year.
    app.go({ ...view, interval: undefined });
  };

  function customForm(): HTMLElement {
    const input = (name: string, value: string) =>
      h('input', { type: 'date', name, class: 'input', required: true, value });
    const form = h(
      'form',
      { class: 'custom', onsubmit: submit },
      h('label', {}, 'From', input('from', app.view.from)),
      h('label', {}, 'To', input('to', app.view.to)),
      h('button', { type: 'submit', class: 'button primary' }, 'Show'),
    );
    function submit(event: SubmitEvent): void {
      event.preventDefault();
      const data = new FormData(form);
      const [from, to] = [String(data.get('from')), String(data.get('to'))].sort();
      pick({ ...app.view, period: 'custom', from: from!, to: to! });
    }
    return form;
  }
  return {
    ...menu,
    openDates() {
      menu.toggle();
      // The menu itself takes the focus when it has opened.
      menu.panel.addEventListener('toggle', () => menu.panel.querySelector<HTMLElement>('[name="from"]')?.focus(), {
        once: true,
      });
    },
  };
}

export function compareMenu(app: App): Popover {
  const menu = popover(
    'Comparison',
    () =>
      compares.map((compare) =>
        choice(compareTitles[compare], app.view.compare === compare, () => {
          menu.close();
          app.go({ ...app.view, compare });
        }),
      ),
    'compare',
  );
  return menu;
}

const compareShort: Readonly<Record<Compare, string>> = {
  previous: 'vs previous',
  year: 'vs year before',
  none: 'no comparison',
};
export const compareText = (view: View): string => compareShort[view.compare];

/** The key of each period, for the keyboard and its help. */
export const periodKeys = keys;
