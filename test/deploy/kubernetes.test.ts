/**
 * The chart: linted, rendered in three shapes, each object checked against the schemas of Kubernetes; the plain manifests are the chart's; the
 * collector itself finds the rendered environment valid; the drain controller is run against an API server that answers as Kubernetes does.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { main } from '../servers/collector.ts';
import { runProgram, type TestScope, temporaryFolder } from '../servers/process.ts';
import { collectorFolder, eventsIn, ringmain, startCollector } from './collector.ts';
import { deployFolder } from './local-postgres.ts';
import { helm, validateManifests } from './tools.ts';

const chart = join(deployFolder, 'k8s', 'chart');
const VERSIONS = ['1.29', '1.33'];

interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly env: readonly { name: string; value: string }[];
  readonly securityContext: { readOnlyRootFilesystem: boolean; allowPrivilegeEscalation: boolean };
  readonly volumeMounts: readonly { name: string; mountPath: string }[];
  readonly readinessProbe: { httpGet: { path: string } };
  readonly livenessProbe: { httpGet: { path: string } };
}
interface PodSpec {
  readonly enableServiceLinks: boolean;
  readonly automountServiceAccountToken?: boolean;
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: { runAsNonRoot: boolean; runAsUser: number };
  readonly containers: readonly Container[];
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec: {
    readonly template: { readonly spec: PodSpec };
    readonly jobTemplate: { readonly spec: { readonly template: { readonly spec: PodSpec } } };
    readonly persistentVolumeClaimRetentionPolicy: unknown;
  };
}

const shapes: Readonly<Record<string, string>> = {
  defaults: '{}',
  everything: `
image: { repository: registry.example/ringmain, tag: '1.2.3' }
imagePullSecrets: [{ name: pull }]
autoscaling: { connectionsPerPod: 20000 }
secrets:
  PG_DSN: { name: ringmain-postgres, key: dsn }
  KAFKA_SASL_PASSWORD: { name: ringmain-kafka, key: password }
volume: { storageClassName: fast }
serviceMonitor: { enabled: true, labels: { release: prometheus } }
networkPolicy: { from: [{ namespaceSelector: {} }] }
service: { type: LoadBalancer, annotations: { a: b } }
serviceAccount: { annotations: { c: d } }
podAnnotations: { e: f }
nodeSelector: { disk: fast }
tolerations: [{ key: x, operator: Exists }]
priorityClassName: high`,
  least: `
autoscaling: { enabled: false }
drain: { enabled: false }
networkPolicy: { enabled: false }`,
};

async function rendered(t: TestScope, values: string): Promise<{ text: string; file: string; objects: Manifest[] }> {
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
  const text = await runProgram('sh', [join(deployFolder, 'k8s', 'render.sh'), '-f', join(folder, 'values.yaml')], {
    env,
  });
  const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  // The ServiceMonitor is not Kubernetes' own; what its schema would say is looked at below.
  const known = objects.filter(({ kind }) => kind !== 'ServiceMonitor');
  const jobs = objects.flatMap(({ data }) => (data?.['job.json'] ? [JSON.parse(data['job.json']) as unknown] : []));
  const file = join(folder, 'manifests.yaml');
  writeFileSync(file, [...known, ...jobs].map((object) => `---\n${JSON.stringify(object)}\n`).join(''));
  return { text, file, objects };
}

test('helm lints the chart, and each shape of it is valid Kubernetes', async (t) => {
  await runProgram(await helm(), ['lint', '--strict', chart]);
  for (const [name, values] of Object.entries(shapes)) {
    const { file, objects } = await rendered(t, values);
    for (const version of VERSIONS) {
      const report = await validateManifests(file, version);
      const passed = report.match(/ passed for resource /g)?.length ?? 0;
      assert.ok(passed >= objects.length - 1, `${name}, ${version}: only ${passed} objects were looked at\n${report}`);
    }
  }
});

test('the plain manifests are those of the chart', async (t) => {
  const { text } = await rendered(t, '{}');
  const committed = readFileSync(join(deployFolder, 'k8s', 'manifests.yaml'), 'utf8');
  assert.equal(committed, text, 'stale: run deploy/k8s/render.sh > deploy/k8s/manifests.yaml');
});

test('pods keep to what the collector needs and no more', async (t) => {
  const { objects } = await rendered(t, shapes['everything']!);
  const set = objects.find(({ kind }) => kind === 'StatefulSet')!;
  const cron = objects.find(({ kind }) => kind === 'CronJob')!;
  const job = drainJob(objects);
  const pods = [set.spec.template.spec, cron.spec.jobTemplate.spec.template.spec, job.spec.template.spec];
  for (const pod of pods) {
    assert.equal(pod.enableServiceLinks, false);
    assert.equal(pod.securityContext.runAsNonRoot, true);
    for (const { securityContext } of pod.containers) {
      assert.equal(securityContext.readOnlyRootFilesystem, true);
      assert.equal(securityContext.allowPrivilegeEscalation, false);
    }
  }
  const [collector, , drain] = pods.map((pod) => pod.containers[0]!) as [Container, Container, Container];
  assert.deepEqual(
    pods[0]!.securityContext,
    pods[2]!.securityContext,
    'the drain could not read what the collector wrote',
  );
  assert.deepEqual(collector.env, drain.env, 'the drain would deliver elsewhere');
  assert.deepEqual(collector.volumeMounts, drain.volumeMounts);
  assert.equal(collector.readinessProbe.httpGet.path, '/readyz?sinks=ignore');
  assert.equal(collector.livenessProbe.httpGet.path, '/healthz');
  assert.deepEqual(set.spec.persistentVolumeClaimRetentionPolicy, { whenScaled: 'Retain', whenDeleted: 'Retain' });
  const value = (name: string) => Number(collector.env.find((entry) => entry.name === name)?.value);
  const drainSeconds = (value('DRAIN_DELAY_MS') + value('DRAIN_TIMEOUT_MS')) / 1000;
  assert.ok(pods[0]!.terminationGracePeriodSeconds > drainSeconds + 3, 'it would be killed in its drain');
  // Secrets are files: an environment can be read by whoever can read /proc or a crash report.
  assert.ok(collector.env.every(({ name }) => !/(DSN|PASSWORD)$/.test(name)));

  const monitor = objects.find(({ kind }) => kind === 'ServiceMonitor') as unknown as {
    spec: { endpoints: { path: string; relabelings: unknown }[] };
  };
  assert.equal(monitor.spec.endpoints[0]!.path, '/metrics');
  assert.deepEqual(
    monitor.spec.endpoints[0]!.relabelings,
    [{ targetLabel: 'job', replacement: 'ringmain' }],
    'alerts ask for job="ringmain"',
  );
});

test('the collector finds the environment of the manifests and of the compose files valid', async (t) => {
  const { objects } = await rendered(t, shapes['everything']!);
  const { folder, remove } = temporaryFolder('ringmain-env-');
  t.onTestFinished(remove);
  const secret = join(folder, 'secret');
  writeFileSync(secret, 'postgres://u:p@db/ringmain');
  const environments = new Map<string, Record<string, string>>();
  const set = objects.find(({ kind }) => kind === 'StatefulSet')!;
  environments.set(
    'chart',
    Object.fromEntries(set.spec.template.spec.containers[0]!.env.map(({ name, value }) => [name, value])),
  );
  for (const file of ['docker-compose.yml', 'docker-compose.scale.yml']) {
    const { services } = parse(readFileSync(join(deployFolder, 'local', file), 'utf8'), { merge: true }) as {
      services: Record<string, { image?: string; environment?: Record<string, string> }>;
    };
    for (const [name, { image, environment }] of Object.entries(services))
      if (image?.startsWith('ringmain:')) environments.set(`${file} ${name}`, environment!);
  }
  assert.equal(environments.size, 5);
  for (const [where, given] of environments) {
    const env = Object.fromEntries(
      Object.entries(given).map(([name, value]) => [
        name,
        name.endsWith('_FILE') ? secret : value.replace(/^\/data/, folder),
      ]),
    );
    const { PATH } = process.env;
    const said = await runProgram('node', [main, 'pixel', '--check-config'], {
      cwd: folder,
      env: { PATH, ...env },
    }).catch((error: Error) => assert.fail(`${where}: ${error.message}`));
    assert.doesNotMatch(said, /unknown|nearest|did you mean/i, where);
  }
});

test('the drain controller starts a drain where a pod has gone for good, once, and stops it when the pod is back', async (t) => {
  const api = await fakeApi(t);
  api.set(2);
  for (const claim of [
    'journal-ringmain-0',
    'journal-ringmain-1',
    'journal-ringmain-2',
    'journal-ringmain-3',
    'journal-ringmain-x-4',
    'data-other-7',
  ])
    api.claims.push(claim);
  api.pods.add('ringmain-0').add('ringmain-1').add('ringmain-3');
  const controller = await drainController(t, api.url);

  await controller();
  assert.deepEqual([...api.jobs.keys()], ['ringmain-drain-2'], 'pod 3 is still ending, 0 and 1 are to stay');
  const job = api.jobs.get('ringmain-drain-2')!;
  assert.match(JSON.stringify(job), /"claimName":"journal-ringmain-2"/);
  assert.doesNotMatch(JSON.stringify(job), /ORDINAL/);

  api.pods.delete('ringmain-3');
  await controller();
  await controller();
  assert.deepEqual([...api.jobs.keys()].sort(), ['ringmain-drain-2', 'ringmain-drain-3']);
  assert.equal(api.created, 2, 'a Job that is there is not made again');

  api.set(3);
  await controller();
  assert.deepEqual([...api.jobs.keys()], ['ringmain-drain-3'], 'the volume of pod 2 is its own again');
  await assert.rejects((await drainController(t, api.url, { STATEFULSET: 'other' }))(), /StatefulSet is not there/);
});

test('what the drain Job runs delivers what a killed collector owed, once', async (t) => {
  const { objects } = await rendered(t, '{}');
  const [drain] = drainJob(objects).spec.template.spec.containers;
  const folder = collectorFolder();
  const collector = await startCollector(t, {
    port: 21960,
    folder,
    env: { OUTPUTS: 'log,http', HTTP_SINK_URL: 'http://127.0.0.1:21961/' },
  });
  const ids = [];
  for (let n = 0; n < 200; n += 1) {
    const id = `01930000-0000-7000-8000-${String(n).padStart(12, '0')}`;
    ids.push(id);
    assert.equal((await fetch(`${collector.url}/px.gif?event_id=${id}`)).status, 200);
  }
  await collector.kill();

  const received: string[] = [];
  const target = createServer((request, response) => {
    void text(request).then((body) => {
      for (const line of body.split('\n').filter(Boolean))
        received.push((JSON.parse(line) as { event_id: string }).event_id);
      response.end();
    });
  });
  t.onTestFinished(() => void target.close());
  await new Promise<void>((resolve) => target.listen(21961, '127.0.0.1', resolve));
  await ringmain(folder, drain!.args!, { OUTPUTS: 'log,http', HTTP_SINK_URL: 'http://127.0.0.1:21961/' });
  assert.deepEqual(received.sort(), ids);
  assert.deepEqual(
    eventsIn(folder)
      .map(({ event_id: id }) => id)
      .sort(),
    ids,
  );
});

function drainJob(objects: readonly Manifest[]): Manifest {
  const config = objects.find(({ kind, data }) => kind === 'ConfigMap' && data?.['job.json'])!;
  return JSON.parse(config.data!['job.json']!) as Manifest;
}

/** Runs the controller as its container does, out of the rendered ConfigMap. */
async function drainController(
  t: TestScope,
  url: string,
  env: Record<string, string> = {},
): Promise<() => Promise<string>> {
  const { objects } = await rendered(t, '{}');
  const { folder, remove } = temporaryFolder('ringmain-drain-');
  t.onTestFinished(remove);
  const config = objects.find(({ kind, data }) => kind === 'ConfigMap' && data?.['job.json'])!;
  mkdirSync(join(folder, 'account'));
  writeFileSync(join(folder, 'account', 'namespace'), 'ringmain');
  writeFileSync(join(folder, 'account', 'token'), 'secret-token\n');
  for (const [name, content] of Object.entries(config.data!)) writeFileSync(join(folder, name), content);
  const all = {
    ...process.env,
    API_URL: url,
    ACCOUNT_DIR: join(folder, 'account'),
    STATEFULSET: 'ringmain',
    JOB_FILE: join(folder, 'job.json'),
    ...env,
  };
  return () => runProgram('node', [join(folder, 'drain-controller.mjs')], { env: all });
}

interface FakeApi {
  readonly url: string;
  readonly claims: string[];
  readonly pods: Set<string>;
  readonly jobs: Map<string, unknown>;
  created: number;
  set(replicas: number): void;
}

/** The few paths that the controller's Role allows, answered as an API server does; anything else is 403. */
async function fakeApi(t: TestScope): Promise<FakeApi> {
  let replicas = 0;
  const state = { claims: [] as string[], pods: new Set<string>(), jobs: new Map<string, unknown>(), created: 0 };
  const space = '/api/v1/namespaces/ringmain';
  const jobPath = '/apis/batch/v1/namespaces/ringmain/jobs';
  const answer = (method: string, path: string, body: string): [number, unknown] => {
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (method === 'GET' && path === '/apis/apps/v1/namespaces/ringmain/statefulsets/ringmain')
      return [200, { spec: { replicas } }];
    if (method === 'GET' && path.includes('/statefulsets/')) return [404, {}];
    if (method === 'GET' && path === `${space}/persistentvolumeclaims`)
      return [200, { items: state.claims.map((claim) => ({ metadata: { name: claim } })) }];
    if (method === 'GET' && path.startsWith(`${space}/pods/`))
      return state.pods.has(name) ? [200, { metadata: { name } }] : [404, {}];
    if (path.startsWith(`${jobPath}/`)) {
      if (!state.jobs.has(name)) return [404, {}];
      if (method === 'DELETE') state.jobs.delete(name);
      return [200, { metadata: { name } }];
    }
    if (method === 'POST' && path === jobPath) {
      const job = JSON.parse(body) as Manifest;
      if (state.jobs.has(job.metadata.name)) return [409, {}];
      state.jobs.set(job.metadata.name, job);
      state.created += 1;
      return [201, job];
    }
    return [403, { message: `${method} ${path}` }];
  };
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const known = request.headers.authorization === 'Bearer secret-token';
      const [status, json] = known ? answer(request.method!, request.url!, body) : [401, {}];
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(json));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const set = (wanted: number) => {
    replicas = wanted;
  };
  return Object.assign(state, { url, set });
}

async function text(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
