/** Backends: how they do now, and what share of the requests they get. */

import type { View } from '../../web/admin-page.ts';
import { call, get, wordsOf } from '../../web/api.ts';
import { h } from '../../web/dom.ts';
import { Box, badge, button, card, empty, said } from '../../web/parts.ts';
import type { BackendView } from '../database/admin/contract.ts';

/** A backend and how a gateway sees it. */
interface LiveBackend extends BackendView {
  readonly state?: string;
  readonly reason?: string | null;
}

const tones: Readonly<Record<string, 'good' | 'bad' | 'warn' | 'quiet'>> = {
  up: 'good',
  slow_start: 'warn',
  draining: 'warn',
  unknown: 'quiet',
};

/** Whether it gets requests now. */
const takes = ({ draining, state }: LiveBackend): boolean => !draining && state !== 'down' && state !== 'ejected';

export function backendsView(): View {
  const box: Box<{ readonly items: readonly LiveBackend[] }> = new Box(
    (signal) => get('/api/v1/backends', signal),
    ({ items }) => {
      if (items.length === 0)
        return empty(
          'No backends',
          'Pictures are answered with 503 until one is added by the API or the command line.',
        );
      const weights = items.reduce((sum, one) => sum + (takes(one) ? one.weight : 0), 0);
      return h(
        'ul',
        { class: 'backends' },
        items.map((one) => itemOf(one, weights)),
      );
    },
    3,
  );

  function itemOf(one: LiveBackend, weights: number): HTMLElement {
    const state = one.draining ? 'draining' : (one.state ?? 'unknown');
    const share = !takes(one) || weights === 0 ? 0 : Math.round((100 * one.weight) / weights);
    const weight = h('input', {
      class: 'input weight',
      type: 'number',
      min: 0,
      max: 1000,
      step: 1,
      value: String(one.weight),
      'aria-label': `Weight of ${one.name}`,
      onchange: () => void change({ weight: Number(weight.value) }, 'The weight was changed'),
    });
    const change = async (body: object, words: string): Promise<void> => {
      try {
        await call('PATCH', `/api/v1/backends/${one.id}`, body);
        said(words);
      } catch (error) {
        said(wordsOf(error));
      }
      await box.load(true);
    };
    return h(
      'li',
      { class: 'backend' },
      h(
        'div',
        { class: 'backend-name' },
        h('b', {}, one.name),
        badge(state.replaceAll('_', ' '), tones[state] ?? 'bad'),
        h('code', {}, one.url),
        one.reason && h('span', { class: 'hint' }, one.reason),
      ),
      h(
        'div',
        { class: 'row-tools' },
        h('label', { class: 'weight-box' }, h('span', { class: 'quiet' }, 'Weight'), weight),
        h('span', { class: 'quiet share' }, `${share}%`),
        button(
          one.draining ? 'Resume' : 'Drain',
          () =>
            void change(
              { draining: !one.draining },
              one.draining ? 'It takes requests again' : 'It takes no new requests',
            ),
        ),
      ),
    );
  }

  void box.load();
  return {
    element: card('Backends', undefined, box.element),
    ticks: 1,
    refresh: () => box.tick(),
    leave: () => box.stop(),
  };
}
