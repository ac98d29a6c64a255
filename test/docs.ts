/**
 * Renews what README.md, .env.example and PERFORMANCE.md take from the code and the tests: `npm run docs`. test/docs.test.ts fails when
 * they are stale.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { eventModelTable } from '../src/events/schema.ts';
import { type ConfigSet, envExample, renewReference } from '../src/kernel/config.ts';
import { type ErrorSet, errorsReference } from '../src/kernel/errors.ts';
import { renewPart } from '../src/kernel/markdown.ts';
import { pixelSets } from '../src/service/command.ts';
import { lossTable } from './faults/losses.ts';

const sets = pixelSets as readonly ConfigSet[];

/** The error tables of all rooms: every src/<room>/errors.ts exports one. */
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

/** What the files should hold. */
export function renewed(): Record<'README.md' | '.env.example' | 'PERFORMANCE.md', string> {
  const readme = renewReference(readFileSync('README.md', 'utf8'), sets);
  const withEvents = renewPart(readme, 'events', eventModelTable());
  return {
    'README.md': renewPart(withEvents, 'errors', errorsReference(errorSets)),
    '.env.example': envExample(sets),
    'PERFORMANCE.md': renewPart(readFileSync('PERFORMANCE.md', 'utf8'), 'losses', lossTable()),
  };
}

if (import.meta.main ?? process.argv[1] === import.meta.filename)
  for (const [file, text] of Object.entries(renewed())) writeFileSync(file, text);
