/** Main: the page for administrators of the SMS gateway. The part of the address behind # says how far back it looks. */
import '../../web/tokens.css';
import '../../web/base.css';
import '../../web/dialog.css';
import '../../web/admin.css';
import './sms.css';
import { startAdminPage } from '../../web/admin-page.ts';
import { fill, h } from '../../web/dom.ts';
import { periodIn, periods } from './period.ts';
import { balancesView, figuresView, operatorsView, standingView, topView, trafficView } from './views.ts';

const choice = h('nav', { class: 'periods', 'aria-label': 'How far back' });

startAdminPage({
  name: 'SMS',
  probe: '/v1/reports/balances?limit=1',
  choice,
  show(main, title) {
    const period = periodIn(location.hash);
    fill(
      choice,
      periods.map(({ id, label }) =>
        h('a', { class: 'period', href: `#${id}`, 'aria-current': id === period.id ? 'true' : undefined }, label),
      ),
    );
    const figures = figuresView(period);
    const traffic = trafficView(period);
    const operators = operatorsView(period);
    const standing = standingView();
    const top = topView(period);
    const balances = balancesView();
    fill(
      main,
      h('h1', { class: 'unseen' }, title),
      figures.element,
      h(
        'div',
        { class: 'overview' },
        h('div', { class: 'side' }, traffic.element, operators.element),
        h('div', { class: 'side' }, standing.element, balances.element, top.element),
      ),
    );
    return [figures, traffic, operators, standing, top, balances];
  },
});
