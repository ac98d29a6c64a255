/** The events of TEST_MODE: one of each way in, under a site of their own. */
import type { Sample } from '../service/contract.ts';

/** Site of the samples; nobody's statistics but its own hold them. */
export const TEST_SITE = 'ringmain_test';

const json = { 'content-type': 'application/json' };
const url = encodeURIComponent(`https://${TEST_SITE}/`);

const event = { site_id: TEST_SITE, event_type: 'page_view', path: '/' };

export const analyticsSamples: readonly Sample[] = [
  { method: 'POST', path: '/events', headers: json, body: JSON.stringify(event) },
  { method: 'POST', path: '/events', headers: json, body: JSON.stringify([{ ...event, user_id: 'test' }]) },
  { method: 'GET', path: `/px.gif?e=page_view&site_id=${TEST_SITE}&url=${url}` },
  {
    method: 'POST',
    path: '/collect',
    headers: json,
    body: JSON.stringify({ e: 'page_view', props: { site_id: TEST_SITE } }),
  },
];
