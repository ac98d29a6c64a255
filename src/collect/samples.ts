/** The events of TEST_MODE: one of each way in, under a name by which reports leave them out. */
import { TEST_EVENT } from '../events/schema.ts';
import type { Sample } from '../service/contract.ts';

const json = { 'content-type': 'application/json' };
const event = (sample: number, more: object = {}) => ({ e: TEST_EVENT, props: { sample }, ...more });

export const collectSamples: readonly Sample[] = [
  { method: 'GET', path: `/px.gif?e=${TEST_EVENT}&sample=1&url=https%3A%2F%2Fexample.com%2F&utm_source=test` },
  { method: 'GET', path: `/px.gif?e=${TEST_EVENT}&sample=2&uid=test` },
  { method: 'POST', path: '/collect', headers: json, body: JSON.stringify(event(3)) },
  { method: 'POST', path: '/collect', headers: { 'content-type': 'text/plain' }, body: JSON.stringify([event(4)]) },
  { method: 'POST', path: '/collect', headers: json, body: JSON.stringify([event(5, { uid: 'test' })]) },
];
