/**
 * Renews what the pages below take from the code and the tests: `npm run docs`. test/docs.test.ts fails when they are
 * stale.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { chartSchema } from '../deploy/k8s/schema.ts';
import analytics from '../src/analytics/analytics.ts';
import { eventModelTable } from '../src/events/schema.ts';
import { openApi as gatewayApi } from '../src/gateway/admin/openapi/document.ts';
import gateway from '../src/gateway/gateway.ts';
import { declaredIn } from '../src/kernel/config/set.ts';
import { type ConfigSet, envExample, markdownReference, renewReference } from '../src/kernel/config.ts';
import { errorsReference, exitsReference } from '../src/kernel/errors.ts';
import { renewPart } from '../src/kernel/markdown.ts';
import pixel from '../src/pixel/pixel.ts';
import { setsOf } from '../src/service/configured.ts';
import { openApi as smsApi } from '../src/sms/openapi/document.ts';
import sms from '../src/sms/sms.ts';
import { lossTable } from './faults/losses.ts';
import { errorSets } from './kernel/error-sets.ts';
import { postmanCollection, routesReference } from './service/openapi-reference.ts';

const sets: readonly ConfigSet[] = setsOf(pixel);
const analyticsSets: readonly ConfigSet[] = setsOf(analytics);
const gatewaySets: readonly ConfigSet[] = setsOf(gateway);
const smsSets: readonly ConfigSet[] = setsOf(sms);

/** Options of `others` that the sets lack, or have with another default or other names. */
function beyond(others: readonly ConfigSet[]): readonly ConfigSet[] {
  const facts = ({ names, paths, option }: ReturnType<typeof declaredIn>[number]) =>
    JSON.stringify([
      names,
      paths,
      option.default === undefined ? '' : option.format(option.default as NonNullable<unknown>),
    ]);
  const known = new Set(declaredIn(sets).map(facts));
  const own = new Set(
    declaredIn(others)
      .filter((one) => !known.has(facts(one)))
      .map(({ room, key }) => `${room}.${key}`),
  );
  return others
    .map((set) => ({
      ...set,
      options: Object.fromEntries(Object.entries(set.options).filter(([key]) => own.has(`${set.room}.${key}`))),
    }))
    .filter(({ options }) => Object.keys(options).length > 0);
}

/** Errors of administration by keys, which services without it do not meet. */
const administration = ['INPUT_REFUSED', 'RESOURCE_UNKNOWN', 'RESOURCE_TAKEN', 'DATABASE_UNAVAILABLE'];

/** The errors that a request to a service without administration may meet: those of all rooms but these. */
function errorsWithout(...rooms: readonly string[]): string {
  const met = errorSets
    .filter((set) => !Object.values(set).some(({ kind }) => rooms.includes(kind.room)))
    .map((set) => Object.fromEntries(Object.entries(set).filter(([code]) => !administration.includes(code))));
  return errorsReference(met);
}

/** Of keys, a service meets what it names: the dashboard's logins and share links are not its own. */
function errorsNamedBy(service: 'gateway' | 'sms'): string {
  const code = globSync(`src/${service}/**/*.ts`).map((file) => readFileSync(file, 'utf8'));
  const rooms = ['analytics', 'events', 'visitor', 'collect', service === 'gateway' ? 'sms' : 'gateway'];
  const met = errorSets
    .map((set) =>
      Object.fromEntries(
        Object.entries(set).filter(
          ([name, { kind }]) =>
            !rooms.includes(kind.room) &&
            (kind.room !== 'access' || code.some((text) => text.includes(`accessErrors.${name}`))),
        ),
      ),
    )
    .filter((set) => Object.keys(set).length > 0);
  return errorsReference(met);
}

/** What the files should hold. */
export function renewed(): Record<string, string> {
  const withEvents = renewPart(readFileSync('src/pixel/README.md', 'utf8'), 'events', eventModelTable());
  return {
    'src/pixel/README.md': renewPart(withEvents, 'errors', errorsWithout('access', 'analytics', 'gateway', 'sms')),
    'src/analytics/README.md': renewPart(
      readFileSync('src/analytics/README.md', 'utf8'),
      'errors',
      errorsWithout('gateway', 'sms'),
    ),
    'src/gateway/README.md': renewPart(
      renewPart(readFileSync('src/gateway/README.md', 'utf8'), 'routes', routesReference(gatewayApi)),
      'errors',
      errorsNamedBy('gateway'),
    ),
    'src/sms/README.md': renewPart(
      renewPart(readFileSync('src/sms/README.md', 'utf8'), 'routes', routesReference(smsApi)),
      'errors',
      errorsNamedBy('sms'),
    ),
    'README.md': renewPart(readFileSync('README.md', 'utf8'), 'exits', exitsReference()),
    'deploy/RUNBOOK.md': renewPart(readFileSync('deploy/RUNBOOK.md', 'utf8'), 'exits', exitsReference()),
    'deploy/CONFIGURATION.md': [
      ['analytics', analyticsSets] as const,
      ['gateway', gatewaySets] as const,
      ['sms', smsSets] as const,
    ].reduce(
      (page, [service, others]) => renewPart(page, service, markdownReference(beyond(others))),
      renewReference(readFileSync('deploy/CONFIGURATION.md', 'utf8'), sets),
    ),
    '.env.example': envExample(sets),
    'deploy/k8s/chart/values.schema.json': chartSchema([sets, analyticsSets, gatewaySets, smsSets]),
    // Helm reads nothing outside of a chart.
    'deploy/k8s/chart/files/alerts.yml': readFileSync('deploy/prometheus/alerts.yml', 'utf8'),
    'deploy/k8s/chart/files/rules.yml': readFileSync('deploy/prometheus/rules.yml', 'utf8'),
    'deploy/gateway/postman.json': postmanCollection(),
    'PERFORMANCE.md': renewPart(readFileSync('PERFORMANCE.md', 'utf8'), 'losses', lossTable()),
  };
}

if (import.meta.main ?? process.argv[1] === import.meta.filename)
  for (const [file, text] of Object.entries(renewed())) writeFileSync(file, text);
