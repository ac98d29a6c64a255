/** All questions, in the order of PERFORMANCE.md. */
import type { Question } from '../rig/bench.ts';
import { pixel } from './pixel.ts';

export const questions: readonly Question[] = [pixel];
