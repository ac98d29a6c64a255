/**
 * Renews what the pages below take from the code and the tests: `npm run docs`. test/docs.test.ts fails when they are
 * stale.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { chartSchema } from '../deploy/k8s/schema.ts';
import { eventModelTable } from '../src/events/schema.ts';
import { type ConfigSet, envExample, renewReference } from '../src/kernel/config.ts';
import { errorsReference, exitsReference } from '../src/kernel/errors.ts';
import { renewPart } from '../src/kernel/markdown.ts';
import pixel from '../src/pixel/pixel.ts';
import { setsOf } from '../src/service/configured.ts';
import { lossTable } from './faults/losses.ts';
import { errorSets } from './kernel/error-sets.ts';

const sets: readonly ConfigSet[] = setsOf(pixel);

/** What the files should hold. */
export function renewed(): Record<string, string> {
  const withEvents = renewPart(readFileSync('src/pixel/README.md', 'utf8'), 'events', eventModelTable());
  return {
    'src/pixel/README.md': renewPart(withEvents, 'errors', errorsReference(errorSets)),
    'README.md': renewPart(readFileSync('README.md', 'utf8'), 'exits', exitsReference()),
    'deploy/RUNBOOK.md': renewPart(readFileSync('deploy/RUNBOOK.md', 'utf8'), 'exits', exitsReference()),
    'deploy/CONFIGURATION.md': renewReference(readFileSync('deploy/CONFIGURATION.md', 'utf8'), sets),
    '.env.example': envExample(sets),
    'deploy/k8s/chart/values.schema.json': chartSchema(sets),
    // Helm reads nothing outside of a chart.
    'deploy/k8s/chart/files/alerts.yml': readFileSync('deploy/prometheus/alerts.yml', 'utf8'),
    'deploy/k8s/chart/files/rules.yml': readFileSync('deploy/prometheus/rules.yml', 'utf8'),
    'PERFORMANCE.md': renewPart(readFileSync('PERFORMANCE.md', 'utf8'), 'losses', lossTable()),
  };
}

if (import.meta.main ?? process.argv[1] === import.meta.filename)
  for (const [file, text] of Object.entries(renewed())) writeFileSync(file, text);
