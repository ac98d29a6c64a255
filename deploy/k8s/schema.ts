/**
 * The schema of the chart's values: made from the values themselves, for every key there is has a default, and from the declarations of
 * Ringmain's options. A key that neither knows is refused. `node test/docs.ts` writes chart/values.schema.json.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { type ConfigSet, type Declared, declaredIn } from '../../src/kernel/config/set.ts';

type Schema = Readonly<Record<string, unknown>>;

const closed = (properties: Readonly<Record<string, Schema>>): Schema => ({
  type: 'object',
  additionalProperties: false,
  properties,
});

/** A key of a Secret. */
const reference: Schema = {
  ...closed({ name: { type: 'string', minLength: 1 }, key: { type: 'string', minLength: 1 } }),
  required: ['name', 'key'],
};
const count: Schema = { type: 'integer', minimum: 0 };
const port: Schema = { type: 'integer', minimum: 0, maximum: 65535 };
const probe: Schema = closed({
  initialDelaySeconds: count,
  periodSeconds: count,
  timeoutSeconds: count,
  failureThreshold: count,
  successThreshold: count,
  terminationGracePeriodSeconds: count,
});
const named: Schema = { type: 'object', required: ['name'], properties: { name: { type: 'string', minLength: 1 } } };

/** What the default of a key does not tell, by the path of the key. Kubernetes checks what is its own. */
const exact: Readonly<Record<string, Schema>> = {
  // Services and their roles: what stands on the command line behind `ringmain`.
  run: {
    enum: [
      ['pixel'],
      ['analytics'],
      ['analytics', 'api'],
      ['analytics', 'processor'],
      ['analytics', 'all'],
      ['gateway'],
      ['sms', 'api'],
      ['sms', 'worker'],
      ['sms', 'reporting'],
      ['sms', 'partitions'],
      ['sms', 'all'],
      ['sms'],
    ],
  },
  'image.pullPolicy': { enum: ['Always', 'IfNotPresent', 'Never'] },
  'image.tag': { type: 'string' },
  'service.type': { enum: ['ClusterIP', 'NodePort', 'LoadBalancer'] },
  'service.port': port,
  'service.nodePort': port,
  'service.externalTrafficPolicy': { enum: ['', 'Cluster', 'Local'] },
  'service.internalTrafficPolicy': { enum: ['', 'Cluster', 'Local'] },
  'podDisruptionBudget.maxUnavailable': { type: ['integer', 'string'], pattern: '^[0-9]+%$', minimum: 0 },
  'probes.startup': probe,
  'probes.liveness': probe,
  'probes.readiness': probe,
  'networkPolicy.apiServerPorts': { type: 'array', items: port },
  'ingress.hosts': { type: 'array', items: { type: 'string' } },
  'ingress.paths': { type: 'array', items: { type: 'string', pattern: '^/' } },
  env: { type: 'array', items: named },
  extraVolumes: { type: 'array', items: named },
  extraVolumeMounts: { type: 'array', items: named },
  initContainers: { type: 'array', items: named },
  extraContainers: { type: 'array', items: named },
  imagePullSecrets: { type: 'array', items: closed({ name: { type: 'string', minLength: 1 } }) },
};
/** Kubernetes' own objects, whose keys are not ours to list. */
const open = new Set([
  'podSecurityContext',
  'containerSecurityContext',
  'resources',
  'drain.resources',
  'drain.controllerResources',
]);

/** The whole file. `services`: the options of each service that the chart starts. */
export function chartSchema(services: readonly (readonly ConfigSet[])[]): string {
  const options = services.flatMap((sets) => declaredIn(sets));
  const values = parse(readFileSync(join(import.meta.dirname, 'chart', 'values.yaml'), 'utf8')) as object;
  const ofOptions: Readonly<Record<string, Schema>> = {
    config: closed(byName(options, ofOption)),
    secrets: closed(
      byName(
        options.filter(({ option }) => option.secret),
        () => reference,
      ),
    ),
    secretFiles: closed(
      byName(
        options.filter(({ option }) => option.kind === 'path'),
        () => reference,
      ),
    ),
    global: { type: 'object' },
  };
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Values of the chart ringmain',
    ...ofValue(values, ''),
  };
  Object.assign((schema as unknown as { properties: object }).properties, ofOptions);
  return `${JSON.stringify(schema, null, 2)}\n`;
}

function byName(options: readonly Declared[], schema: (one: Declared) => Schema): Record<string, Schema> {
  return Object.fromEntries(options.flatMap((one) => one.names.map((name) => [name, schema(one)])));
}

/** A text is taken for every option, as in the environment; null takes a default of the chart away. */
function ofOption({ option }: Declared): Schema {
  const also: Readonly<Record<string, readonly string[]>> = {
    bool: ['boolean', 'integer'],
    integer: ['integer'],
    number: ['number'],
    list: ['array', 'number'],
    structure: ['object', 'array'],
  };
  return { type: ['string', 'null', ...(also[option.kind] ?? ['number', 'boolean'])], description: option.doc };
}

/** The schema of a key, from its default. */
function ofValue(value: unknown, path: string): Schema {
  const known = exact[path];
  if (known !== undefined) return known;
  if (typeof value === 'string') return { type: 'string' };
  if (typeof value === 'boolean') return { type: 'boolean' };
  if (typeof value === 'number') return count;
  if (Array.isArray(value)) return { type: 'array' };
  const entries = Object.entries(value as object);
  if (entries.length === 0 || open.has(path)) return { type: 'object' };
  const under = (key: string) => (path === '' ? key : `${path}.${key}`);
  return closed(Object.fromEntries(entries.map(([key, one]) => [key, ofValue(one, under(key))])));
}
