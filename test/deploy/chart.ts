/** The chart as tests take it: rendered by helm with values of theirs, as objects and as a file of manifests. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { runProgram, type TestScope, temporaryFolder } from '../servers/process.ts';
import { deployFolder } from './local-postgres.ts';
import { helm } from './tools.ts';

export const chart: string = join(deployFolder, 'k8s', 'chart');

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string; readonly scheme: string };
}
interface Port {
  readonly name: string;
  readonly port?: number;
  readonly containerPort?: number;
  readonly targetPort?: string;
}
export interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly env: readonly { name: string; value: string }[];
  readonly envFrom?: unknown;
  readonly ports: readonly Port[];
  readonly securityContext: { readOnlyRootFilesystem: boolean; allowPrivilegeEscalation: boolean };
  readonly volumeMounts: readonly { name: string; mountPath: string }[];
  readonly startupProbe: Probe;
  readonly readinessProbe: Probe;
  readonly livenessProbe: Probe;
}
export interface PodSpec {
  readonly enableServiceLinks: boolean;
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: { runAsNonRoot: boolean; runAsUser: number };
  readonly initContainers?: unknown;
  readonly containers: readonly Container[];
  readonly volumes?: readonly { readonly name: string; readonly persistentVolumeClaim?: { claimName: string } }[];
}
export interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec: {
    readonly replicas?: number;
    readonly ports?: readonly Port[];
    readonly ingress?: readonly { readonly ports: readonly Port[] }[];
    readonly endpoints?: readonly { readonly port: string; readonly path: string; readonly scheme?: string }[];
    readonly template: { readonly metadata: Manifest['metadata']; readonly spec: PodSpec };
    readonly jobTemplate: { readonly spec: { readonly template: { readonly spec: PodSpec } } };
    readonly persistentVolumeClaimRetentionPolicy: unknown;
  };
}

/** The object of that kind, and of that name when there are several. */
export function objectOf(objects: readonly Manifest[], kind: string, name?: string): Manifest {
  const found = objects.find((one) => one.kind === kind && (name === undefined || one.metadata.name === name));
  if (found === undefined) throw new Error(`the chart must render it: kind=${kind}, name=${name}`);
  return found;
}

/** `flags`: more for helm. */
export async function rendered(
  t: TestScope,
  values: string,
  flags: readonly string[] = [],
): Promise<{ text: string; file: string; objects: Manifest[] }> {
  const { folder, remove } = temporaryFolder('ringmain-chart-');
  t.onTestFinished(remove);
  writeFileSync(join(folder, 'values.yaml'), values);
  const env = {
    ...process.env,
    HELM: await helm(),
    HELM_CACHE_HOME: folder,
    HELM_CONFIG_HOME: folder,
    HELM_DATA_HOME: folder,
  };
  const text = await runProgram(
    'sh',
    [join(deployFolder, 'k8s', 'render.sh'), '-f', join(folder, 'values.yaml'), ...flags],
    {
      env,
    },
  );
  const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  // Those of Prometheus' operator are not Kubernetes' own; tests look at what their schemas would say.
  const known = objects.filter(({ kind }) => kind !== 'ServiceMonitor' && kind !== 'PrometheusRule');
  const jobs = objects.flatMap(({ data }) => (data?.['job.json'] ? [JSON.parse(data['job.json']) as unknown] : []));
  const file = join(folder, 'manifests.yaml');
  writeFileSync(file, [...known, ...jobs].map((object) => `---\n${JSON.stringify(object)}\n`).join(''));
  return { text, file, objects };
}

export function drainJob(objects: readonly Manifest[]): Manifest {
  const config = objects.find(({ kind, data }) => kind === 'ConfigMap' && data?.['job.json'])!;
  return JSON.parse(config.data!['job.json']!) as Manifest;
}
