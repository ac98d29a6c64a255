/** All questions, in the order of PERFORMANCE.md. */
import type { Question } from '../rig/bench.ts';
import { address } from './address.ts';
import { churn } from './churn.ts';
import { collect } from './collect.ts';
import { connections } from './connections.ts';
import { crowd } from './crowd.ts';
import { generators } from './generators.ts';
import { latency } from './latency.ts';
import { micro } from './micro.ts';
import { pixel } from './pixel.ts';
import { rate } from './rate.ts';
import { size } from './size.ts';

export const questions: readonly Question[] = [
  pixel,
  address,
  rate,
  generators,
  latency,
  collect,
  connections,
  crowd,
  size,
  churn,
  micro,
];
