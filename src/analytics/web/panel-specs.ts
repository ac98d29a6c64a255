/** Panel specs: which panels a site has, in their order on the page. */
import type { Dimension } from '../api/contract.ts';
import type { Tabbed } from './state.ts';

export interface PanelSpec {
  /** Its name in the address; left out: it has one dimension. */
  readonly name?: Tabbed;
  readonly title: string;
  readonly tabs: readonly (readonly [dimension: Dimension, title: string])[];
  /** Tabs that share one button. */
  readonly group?: { readonly title: string; readonly tabs: PanelSpec['tabs'] };
  /** What it says when it has nothing to show. */
  readonly empty: string;
  /** It has few rows as a rule. */
  readonly short?: true;
}

export const panelSpecs: readonly PanelSpec[] = [
  {
    name: 'pages',
    title: 'Pages',
    tabs: [
      ['path', 'Top'],
      ['entry_page', 'Entry'],
      ['exit_page', 'Exit'],
    ],
    empty: 'No page was viewed.',
  },
  {
    name: 'sources',
    title: 'Sources',
    tabs: [
      ['source', 'Sources'],
      ['referrer', 'Referrers'],
    ],
    group: {
      title: 'Campaigns',
      tabs: [
        ['utm_campaign', 'Campaign'],
        ['utm_source', 'Source'],
        ['utm_medium', 'Medium'],
        ['utm_content', 'Content'],
        ['utm_term', 'Term'],
      ],
    },
    empty: 'No visit came from here.',
  },
  {
    name: 'places',
    title: 'Places',
    tabs: [
      ['country', 'Countries'],
      ['region', 'Regions'],
    ],
    empty: 'No visit has a place.',
  },
  {
    name: 'devices',
    title: 'Devices',
    tabs: [
      ['browser', 'Browsers'],
      ['os', 'Systems'],
      ['device', 'Devices'],
    ],
    empty: 'No visit has a device.',
  },
  { name: 'events', title: 'Events', tabs: [['event_type', 'All events']], empty: 'No event was sent.', short: true },
  {
    title: 'Goals',
    tabs: [['goal', 'Goals']],
    empty: 'A goal is an event, or a page by its path; its rate is the share of visitors who reached it.',
    short: true,
  },
];
