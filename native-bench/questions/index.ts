/** All questions, in the order they are asked: what takes longest comes last. */
import type { Question } from '../rig/bench.ts';
import { address } from './address.ts';
import { churn } from './churn.ts';
import { collect } from './collect.ts';
import { connections } from './connections.ts';
import { crowd } from './crowd.ts';
import { disturbances } from './disturbances.ts';
import { generators } from './generators.ts';
import { idle } from './idle.ts';
import { latency } from './latency.ts';
import { matrix } from './matrix.ts';
import { micro } from './micro.ts';
import { pixel } from './pixel.ts';
import { platform } from './platform.ts';
import { profile } from './profile.ts';
import { rate } from './rate.ts';
import { readers } from './readers.ts';
import { scaling } from './scaling.ts';
import { size } from './size.ts';
import { soak } from './soak.ts';
import { sync } from './sync.ts';

export const questions: readonly Question[] = [
  pixel,
  address,
  rate,
  generators,
  profile,
  platform,
  latency,
  disturbances,
  collect,
  sync,
  matrix,
  connections,
  crowd,
  size,
  churn,
  readers,
  idle,
  scaling,
  micro,
  soak,
];
