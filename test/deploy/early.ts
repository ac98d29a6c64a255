/**
 * Fetches and builds what the last tests of a run need, at the lowest priority, while the first ones wait for servers: helm and k6 alone
 * take Go some minutes. What is not there in time, or failed here, is made by the test that needs it, which says what went wrong.
 */
import { constants, setPriority } from 'node:os';
import { composeSchema, hadolint, helm, k6, locust } from './tools.ts';

setPriority(constants.priority.PRIORITY_LOW);
for (const make of [helm, k6, hadolint, locust, composeSchema]) await make().catch(() => {});
