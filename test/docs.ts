/**
 * Renews what README.md and .env.example take from the code: `node test/docs.ts`. test/docs.test.ts fails when they are stale.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { eventModelTable } from '../src/events/schema.ts';
import { type ConfigSet, envExample, renewReference } from '../src/kernel/config.ts';
import { errorsReference } from '../src/kernel/errors.ts';
import { renewPart } from '../src/kernel/markdown.ts';
import { pixelSets } from '../src/service/command.ts';

const sets = pixelSets as readonly ConfigSet[];

/** What the files should hold. */
export function renewed(): Record<'README.md' | '.env.example', string> {
  const readme = renewReference(readFileSync('README.md', 'utf8'), sets);
  const withEvents = renewPart(readme, 'events', eventModelTable());
  return { 'README.md': renewPart(withEvents, 'errors', errorsReference()), '.env.example': envExample(sets) };
}

if (import.meta.main ?? process.argv[1] === import.meta.filename)
  for (const [file, text] of Object.entries(renewed())) writeFileSync(file, text);
