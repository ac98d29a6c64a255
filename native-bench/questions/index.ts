/** All questions, in the order they are asked: what takes longest comes last. */
import type { Question } from '../rig/bench.ts';
import { collect } from './collect.ts';
import { events } from './events.ts';
import { gateway } from './gateway.ts';
import { idle } from './idle.ts';
import { micro, sinks } from './micro.ts';
import { pixel } from './pixel.ts';
import { processor } from './processor.ts';
import { rate } from './rate.ts';
import { scaling } from './scaling.ts';
import { smsApi } from './sms-api.ts';
import { smsReports } from './sms-reports.ts';
import { smsWorker } from './sms-worker.ts';
import { soak } from './soak.ts';
import { statistics } from './statistics.ts';
import { sync } from './sync.ts';
import { variants } from './variants.ts';

export const questions: readonly Question[] = [
  pixel,
  rate,
  collect,
  events,
  sync,
  idle,
  sinks,
  variants,
  scaling,
  gateway,
  smsApi,
  smsWorker,
  smsReports,
  statistics,
  processor,
  micro,
  soak,
];

/** The questions that the rows of PERFORMANCE.md come from. */
export const dozen: readonly string[] = [
  pixel,
  rate,
  collect,
  events,
  gateway,
  sync,
  idle,
  sinks,
  smsApi,
  smsWorker,
  statistics,
  processor,
].map(({ name }) => name);
