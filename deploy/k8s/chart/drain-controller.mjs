/**
 * Drain controller: starts `ringmain journal drain` on the volumes of collectors that a scale-down has removed, and takes that Job away
 * again when its collector comes back. Run every minute by a CronJob with Ringmain's own image; needs nothing but Node.
 *
 *   volume journal-<set>-<i>, i >= replicas, no pod <set>-<i>, no Job   create <set>-drain-<i>-1
 *   the newest Job has failed, as attempt n                           create attempt n + 1: after a minute, then two, four ... half an hour; after
 *                                                                     half an hour for a configuration that is wrong (exit 64, 78); at once when the
 *                                                                     Job's template is another one by now
 *   the newest Job runs, or is done                                   nothing (done: Kubernetes removes it after an hour, and the volume is looked at again)
 *   i < replicas and a Job                                            delete it (and its pods): the collector's own start waits for the lock
 *
 * Always true: it deletes nothing but its own Jobs; no state of a Job keeps a volume from its next drain for longer than half an hour, and no
 * volume keeps another from its drain; two drains of one volume, or a drain beside a collector, are kept apart by the journal's lock.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const RETRY_MS = 60_000;
const RETRY_MS_MAX = 30 * 60_000;
const ATTEMPT = 'ringmain/attempt';
const TEMPLATE = 'ringmain/template';
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
const templateHash = createHash('sha256').update(template).digest('hex').slice(0, 16);

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
const jobsPath = `/apis/batch/v1/namespaces/${namespace}/jobs`;
const { metadata: base } = JSON.parse(template);

const claimOf = (job) =>
  job.spec.template.spec.volumes?.find(({ name }) => name === 'journal')?.persistentVolumeClaim?.claimName;
const attemptOf = (job) => Number(job.metadata.annotations?.[ATTEMPT] ?? 1);
const failureOf = (job) => job.status?.conditions?.find(({ type, status }) => type === 'Failed' && status === 'True');

/** The Job for one volume, from the chart's template. */
function jobFor(claim, ordinal, attempt) {
  const job = JSON.parse(template);
  job.metadata.name = `${base.name}-${ordinal}-${attempt}`;
  job.metadata.annotations = {
    ...job.metadata.annotations,
    [ATTEMPT]: String(attempt),
    [TEMPLATE]: templateHash,
  };
  for (const volume of job.spec.template.spec.volumes)
    if (volume.name === 'journal') volume.persistentVolumeClaim.claimName = claim;
  return job;
}

/** How long after its failure a Job is repeated. */
function pauseMs(job, { reason }) {
  if (job.metadata.annotations?.[TEMPLATE] !== templateHash) return 0;
  if (reason === 'PodFailurePolicy') return RETRY_MS_MAX;
  return Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** (attemptOf(job) - 1));
}

async function remove(job, why) {
  if (job.metadata.deletionTimestamp) return;
  await call('DELETE', `${jobsPath}/${job.metadata.name}`, { propagationPolicy: 'Background' });
  console.log(`deleted ${job.metadata.name}: ${why}`);
}

/** One volume of this set; `own` are its Jobs, oldest attempt first. */
async function look(claim, ordinal, replicas, own) {
  if (ordinal < replicas) {
    for (const job of own) await remove(job, 'its collector is back');
    return;
  }
  const newest = own.at(-1);
  if (newest !== undefined) {
    const failure = failureOf(newest);
    if (failure === undefined) return;
    if (Date.now() < Date.parse(failure.lastTransitionTime) + pauseMs(newest, failure)) return;
  }
  // The pod may still be draining by itself; its own drain is better than ours.
  if ((await call('GET', `${core}/pods/${set}-${ordinal}`)) !== undefined) return;
  const job = jobFor(claim, ordinal, newest === undefined ? 1 : attemptOf(newest) + 1);
  if (await call('POST', jobsPath, job)) console.log(`created ${job.metadata.name}`);
  // The one that failed last stays for its log.
  for (const old of own.slice(0, -1)) await remove(old, 'a later attempt has failed');
}

const found = await call('GET', `/apis/apps/v1/namespaces/${namespace}/statefulsets/${set}`);
if (found === undefined) throw new Error(`StatefulSet is not there: ${set}`);
const replicas = found.spec.replicas ?? 1;
const prefix = `journal-${set}-`;
const claims = await call('GET', `${core}/persistentvolumeclaims`);
const selector = ['app.kubernetes.io/instance', 'app.kubernetes.io/component']
  .map((label) => `${label}=${base.labels[label]}`)
  .join(',');
const jobs = (await call('GET', `${jobsPath}?labelSelector=${encodeURIComponent(selector)}`))?.items ?? [];

for (const { metadata } of claims?.items ?? []) {
  const claim = metadata.name;
  const ordinal = claim.startsWith(prefix) ? claim.slice(prefix.length) : '';
  // Another set may be called <set>-<something>: only a plain number is one of ours.
  if (!/^\d+$/.test(ordinal) || metadata.deletionTimestamp) continue;
  const own = jobs.filter((job) => claimOf(job) === claim).sort((a, b) => attemptOf(a) - attemptOf(b));
  try {
    await look(claim, Number(ordinal), replicas, own);
  } catch (error) {
    // The other volumes have their turn all the same; the run counts as failed.
    console.error(`${claim}: ${error.message}`);
    process.exitCode = 1;
  }
}
