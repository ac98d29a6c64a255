/**
 * Drain controller: starts `ringmain journal drain` on the volumes of collectors that a scale-down has removed, and takes that Job away
 * again when its collector comes back. Run every minute by a CronJob with Ringmain's own image; needs nothing but Node.
 *
 *   volume journal-<set>-<i>, i >= replicas, no pod <set>-<i>, no Job    create the Job
 *   i < replicas and a Job                                             delete it (and its pods): the collector's own start waits for the lock
 *
 * Always true: it deletes nothing but its own Jobs; two drains of one volume, or a drain beside a collector, are kept apart by the journal's lock.
 */
import { readFileSync } from 'node:fs';

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const {
  KUBERNETES_SERVICE_HOST: host,
  KUBERNETES_SERVICE_PORT: port,
  STATEFULSET: set = '',
  JOB_FILE: jobFile = '',
} = process.env;
const api = process.env.API_URL ?? `https://${host?.includes(':') ? `[${host}]` : host}:${port}`;
const account = process.env.ACCOUNT_DIR ?? ACCOUNT;
const namespace = readFileSync(`${account}/namespace`, 'utf8').trim();
const token = readFileSync(`${account}/token`, 'utf8').trim();
const template = readFileSync(jobFile, 'utf8');

/** The answer's JSON; undefined for 404, and for 409: somebody else was faster. */
async function call(method, path, body) {
  const response = await fetch(api + path, {
    method,
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  if (response.status === 404 || response.status === 409) {
    await response.body?.cancel();
    return undefined;
  }
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

const core = `/api/v1/namespaces/${namespace}`;
const jobs = `/apis/batch/v1/namespaces/${namespace}/jobs`;
const found = await call('GET', `/apis/apps/v1/namespaces/${namespace}/statefulsets/${set}`);
if (found === undefined) throw new Error(`StatefulSet is not there: ${set}`);
const { replicas } = found.spec;
const prefix = `journal-${set}-`;
const claims = await call('GET', `${core}/persistentvolumeclaims`);

for (const { metadata } of claims?.items ?? []) {
  const ordinal = metadata.name.startsWith(prefix) ? metadata.name.slice(prefix.length) : '';
  // Another set may be called <set>-<something>: only a plain number is one of ours.
  if (!/^\d+$/.test(ordinal) || metadata.deletionTimestamp) continue;
  const job = JSON.parse(template.replaceAll('ORDINAL', ordinal));
  const running = await call('GET', `${jobs}/${job.metadata.name}`);
  if (Number(ordinal) < replicas) {
    if (running !== undefined && !running.metadata.deletionTimestamp) {
      await call('DELETE', `${jobs}/${job.metadata.name}`, { propagationPolicy: 'Background' });
      console.log(`deleted ${job.metadata.name}: its collector is back`);
    }
    continue;
  }
  if (running !== undefined) continue;
  // The pod may still be draining by itself; its own drain is better than ours.
  if ((await call('GET', `${core}/pods/${set}-${ordinal}`)) !== undefined) continue;
  if (await call('POST', jobs, job)) console.log(`created ${job.metadata.name}`);
}
