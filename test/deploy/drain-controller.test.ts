/**
 * What takes over the volumes of collectors that a scale-down has removed: the drain controller against an API server that answers as
 * Kubernetes does, and what its Job runs.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'vitest';
import { exitCodes, exitRows } from '../../src/kernel/errors.ts';
import { runProgram, type TestScope, temporaryFolder } from '../servers/process.ts';
import { drainJob, type Manifest, rendered } from './chart.ts';
import { collectorFolder, eventsIn, ringmain, startCollector } from './collector.ts';

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
  assert.deepEqual([...api.jobs.keys()], ['ringmain-drain-2-1'], 'pod 3 is still ending, 0 and 1 are to stay');
  const job = api.jobs.get('ringmain-drain-2-1')!;
  assert.deepEqual(
    job.spec.template.spec.volumes?.map((volume) => volume.persistentVolumeClaim?.claimName),
    ['journal-ringmain-2'],
  );

  api.pods.delete('ringmain-3');
  await controller();
  await controller();
  assert.deepEqual([...api.jobs.keys()].sort(), ['ringmain-drain-2-1', 'ringmain-drain-3-1']);
  assert.equal(api.created, 2, 'a Job that is there is not made again');
  api.end('ringmain-drain-2-1', 'Complete', 0);
  await controller();
  assert.equal(api.created, 2, 'nor one that has drained its volume');

  api.set(3);
  await controller();
  assert.deepEqual([...api.jobs.keys()], ['ringmain-drain-3-1'], 'the volume of pod 2 is its own again');
  api.set(2);
  api.pods.delete('ringmain-2');
  await controller();
  assert.ok(api.jobs.has('ringmain-drain-2-1'), 'its next removal is drained as the first');
  await assert.rejects((await drainController(t, api.url, { STATEFULSET: 'other' }))(), /StatefulSet is not there/);
});

// Goal: a drain that failed does not keep its volume waiting (it did for 24 h). Method: fail its Jobs at chosen ages, and look what is made.
test('a failed drain is repeated after a minute, then later each time, half an hour at most', async (t) => {
  const api = await fakeApi(t);
  api.set(0);
  api.claims.push('journal-ringmain-0');
  const controller = await drainController(t, api.url);
  await controller();
  const minutes = [1, 2, 4, 8, 16, 30, 30];
  for (const [i, pause] of minutes.entries()) {
    const failed = `ringmain-drain-0-${i + 1}`;
    api.end(failed, 'Failed', pause * 60 - 5, 'BackoffLimitExceeded');
    await controller();
    assert.equal(api.created, i + 1, `attempt ${i + 2} came before its ${pause} min`);
    api.end(failed, 'Failed', pause * 60 + 1, i % 2 === 0 ? 'BackoffLimitExceeded' : 'DeadlineExceeded');
    await controller();
    assert.deepEqual(
      [...api.jobs.keys()],
      [failed, `ringmain-drain-0-${i + 2}`],
      'the next attempt, and the failed one for its log',
    );
  }
});

test('a drain that failed for its configuration waits longest, and not at all once the chart has changed', async (t) => {
  const api = await fakeApi(t);
  api.set(0);
  api.claims.push('journal-ringmain-0');
  await (await drainController(t, api.url))();
  api.end('ringmain-drain-0-1', 'Failed', 29 * 60, 'PodFailurePolicy');
  await (await drainController(t, api.url))();
  assert.equal(api.created, 1);
  const corrected = await drainController(t, api.url, {}, 'config: { KAFKA_BROKERS: other:9092 }');
  await corrected();
  assert.equal(api.created, 2, 'a corrected configuration is tried at once');
  api.end('ringmain-drain-0-2', 'Failed', 31 * 60, 'PodFailurePolicy');
  await corrected();
  assert.equal(api.created, 3, 'a Secret may have been corrected, which the chart does not see');
});

test('a failed Job of an earlier chart, and a volume that the API server refuses a Job for, keep nobody waiting', async (t) => {
  const api = await fakeApi(t);
  api.set(0);
  api.claims.push('journal-ringmain-0', 'journal-ringmain-1', 'journal-ringmain-2');
  const controller = await drainController(t, api.url);
  await controller();
  const old = api.jobs.get('ringmain-drain-1-1')!;
  api.jobs.clear();
  api.jobs.set('ringmain-drain-1', {
    ...old,
    metadata: { ...old.metadata, name: 'ringmain-drain-1', annotations: {} },
  });
  api.end('ringmain-drain-1', 'Failed', 1, 'DeadlineExceeded');
  api.refused.add('ringmain-drain-0-1');
  await assert.rejects(controller(), /journal-ringmain-0: POST .* 403/, 'the run counts as failed');
  assert.deepEqual([...api.jobs.keys()].sort(), ['ringmain-drain-1', 'ringmain-drain-1-2', 'ringmain-drain-2-1']);
});

test('the drain Job leaves repeating to the controller, ends what cannot start, and tells a wrong configuration apart', async (t) => {
  const { objects } = await rendered(t, '{}');
  const { spec } = drainJob(objects) as unknown as {
    spec: {
      backoffLimit: number;
      activeDeadlineSeconds: number;
      ttlSecondsAfterFinished: number;
      podFailurePolicy: { rules: { action: string; onExitCodes?: { values: number[] } }[] };
    };
  };
  assert.equal(spec.backoffLimit, 0);
  assert.ok(spec.activeDeadlineSeconds > 3600);
  assert.ok(spec.ttlSecondsAfterFinished > 31 * 60, 'the count of attempts would be lost between two of them');
  const fatal = spec.podFailurePolicy.rules.find(({ action }) => action === 'FailJob')?.onExitCodes?.values;
  // 75, a journal that is still locked for instance, passes by itself.
  assert.deepEqual(fatal, [exitCodes.usage, exitCodes.config]);
  const late = exitRows.filter(({ repeats }) => repeats === '30 min').map(({ code }) => Number(code));
  assert.deepEqual(fatal, late, 'the table of README.md');
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

/** Runs the controller as its container does, out of the rendered ConfigMap. */
async function drainController(
  t: TestScope,
  url: string,
  env: Record<string, string> = {},
  values = '{}',
): Promise<() => Promise<string>> {
  const { objects } = await rendered(t, values);
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

type Job = Manifest & { status?: { conditions: object[] } };

interface FakeApi {
  readonly url: string;
  readonly claims: string[];
  readonly pods: Set<string>;
  readonly jobs: Map<string, Job>;
  /** Names of Jobs that may not be created. */
  readonly refused: Set<string>;
  created: number;
  set(replicas: number): void;
  /** Ends a Job, so many seconds ago. */
  end(name: string, type: 'Complete' | 'Failed', secondsAgo: number, reason?: string): void;
}

/** The few paths that the controller's Role allows, answered as an API server does; anything else is 403. */
async function fakeApi(t: TestScope): Promise<FakeApi> {
  let replicas = 0;
  const state = {
    claims: [] as string[],
    pods: new Set<string>(),
    jobs: new Map<string, Job>(),
    refused: new Set<string>(),
    created: 0,
  };
  const space = '/api/v1/namespaces/ringmain';
  const jobPath = '/apis/batch/v1/namespaces/ringmain/jobs';
  const answer = (method: string, url: string, body: string): [number, unknown] => {
    const { pathname: path, searchParams } = new URL(url, 'http://api');
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (method === 'GET' && path === '/apis/apps/v1/namespaces/ringmain/statefulsets/ringmain')
      return [200, { spec: { replicas } }];
    if (method === 'GET' && path.includes('/statefulsets/')) return [404, {}];
    if (method === 'GET' && path === `${space}/persistentvolumeclaims`)
      return [200, { items: state.claims.map((claim) => ({ metadata: { name: claim } })) }];
    if (method === 'GET' && path.startsWith(`${space}/pods/`))
      return state.pods.has(name) ? [200, { metadata: { name } }] : [404, {}];
    if (method === 'GET' && path === jobPath) {
      const wanted = (searchParams.get('labelSelector') ?? '').split(',').map((one) => one.split('='));
      const fits = ({ metadata: { labels } }: Job) => wanted.every(([label, value]) => labels[label!] === value);
      return [200, { items: [...state.jobs.values()].filter(fits) }];
    }
    if (method === 'DELETE' && path.startsWith(`${jobPath}/`))
      return state.jobs.delete(name) ? [200, { metadata: { name } }] : [404, {}];
    if (method === 'POST' && path === jobPath) {
      const job = JSON.parse(body) as Job;
      if (state.refused.has(job.metadata.name)) return [403, { message: 'exceeded quota' }];
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
  const end: FakeApi['end'] = (name, type, secondsAgo, reason) => {
    const lastTransitionTime = new Date(Date.now() - secondsAgo * 1000).toISOString();
    state.jobs.get(name)!.status = { conditions: [{ type, status: 'True', reason, lastTransitionTime }] };
  };
  return Object.assign(state, { url, set, end });
}

async function text(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
