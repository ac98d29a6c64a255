/** Error sets: the tables of all rooms. Every src/<room>/errors.ts exports one, so a new room is found by itself. */
import { globSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ErrorSet } from '../../src/kernel/errors.ts';

export const errorSets: readonly ErrorSet[] = await Promise.all(
  globSync('src/*/errors.ts')
    .sort()
    .map(async (file) => {
      const exported = Object.values((await import(pathToFileURL(resolve(file)).href)) as Record<string, unknown>);
      const found = exported.filter((value) => typeof value === 'object' && Object.values(value ?? {}).every(isMaker));
      if (found.length !== 1) throw new TypeError(`${file} must export one set of errors: found=${found.length}`);
      return found[0] as ErrorSet;
    }),
);

function isMaker(value: unknown): boolean {
  return typeof value === 'function' && 'kind' in value;
}
