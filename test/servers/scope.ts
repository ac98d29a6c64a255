import { afterAll } from 'vitest';
import type { TestScope } from './process.ts';

/**
 * The scope of a whole test file or of a describe(), for what beforeAll() starts: call it at the top of the file or of the
 * describe(), in front of its beforeAll().
 */
export function fileScope(): TestScope {
  const undo: (() => unknown)[] = [];
  afterAll(async () => {
    for (const fn of undo.reverse()) await fn();
  });
  return { onTestFinished: (fn) => void undo.push(fn) };
}
