/** All questions, in the order they are asked: what takes longest comes last. */
import type { Question } from '../rig/bench.ts';
import { collect } from './collect.ts';
import { idle } from './idle.ts';
import { micro, sinks } from './micro.ts';
import { pixel } from './pixel.ts';
import { rate } from './rate.ts';
import { scaling } from './scaling.ts';
import { soak } from './soak.ts';
import { sync } from './sync.ts';
import { variants } from './variants.ts';

export const questions: readonly Question[] = [pixel, rate, collect, sync, idle, sinks, variants, scaling, micro, soak];

/** The questions that the rows of PERFORMANCE.md come from. */
export const dozen: readonly string[] = [pixel, rate, collect, sync, idle, sinks].map(({ name }) => name);
