/**
 * The chart: linted, rendered in several shapes, each object checked against the schemas of Kubernetes; the plain manifests are the chart's; the
 * collector itself finds the rendered environment valid; ports, probes and times follow its options; a misspelt value is refused.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { parse } from 'yaml';
import { httpConfig } from '../../src/http/config.ts';
import { declaredIn } from '../../src/kernel/config/set.ts';
import { serviceConfig } from '../../src/service/config.ts';
import { authority } from '../servers/certificates.ts';
import { main } from '../servers/collector.ts';
import { runProgram, temporaryFolder } from '../servers/process.ts';
import { type Container, chart, drainJob, objectOf, rendered } from './chart.ts';
import { deployFolder } from './local-postgres.ts';
import { helm, validateManifests } from './tools.ts';

const VERSIONS = ['1.29', '1.33'];

const smsRoles = ['api', 'worker', 'reporting', 'partitions'];
const smsFiles = [...smsRoles, 'all'];
const smsValues = (role: string): string => readFileSync(join(deployFolder, 'k8s', `sms-${role}.yaml`), 'utf8');

const shapes: Readonly<Record<string, string>> = {
  defaults: '{}',
  'analytics api': readFileSync(join(deployFolder, 'k8s', 'analytics-api.yaml'), 'utf8'),
  gateway: readFileSync(join(deployFolder, 'k8s', 'gateway.yaml'), 'utf8'),
  ...Object.fromEntries(smsFiles.map((role) => [`sms ${role}`, smsValues(role)])),
  everything: `
nameOverride: events
commonLabels: { team: web }
commonAnnotations: { owner: web }
image: { registry: registry.example, repository: ringmain, tag: '1.2.3' }
imagePullSecrets: [{ name: pull }]
autoscaling: { connectionsPerPod: 2000000 }
config: { ADMIN_ADDR: ':9000', SERVER_ADDR: ':8443', DRAIN_DELAY_MS: 1m }
secrets:
  PG_DSN: { name: ringmain-postgres, key: dsn }
  KAFKA_SASL_PASSWORD: { name: ringmain-kafka, key: password }
secretFiles:
  TLS_CERT: { name: tls, key: tls.crt }
  TLS_KEY: { name: tls, key: tls.key }
env:
  - { name: NODE_OPTIONS, value: --max-old-space-size=512 }
  - { name: KAFKA_SASL_USER, valueFrom: { secretKeyRef: { name: ringmain-kafka, key: user } } }
envFrom: [{ configMapRef: { name: more } }]
extraVolumes: [{ name: geo, configMap: { name: geo } }]
extraVolumeMounts: [{ name: geo, mountPath: /geo, readOnly: true }]
initContainers: [{ name: sql-proxy, image: 'sql-proxy:2', restartPolicy: Always }]
extraContainers: [{ name: shipper, image: 'shipper:1' }]
volume: { storageClassName: fast, annotations: { v: w } }
probes: { startup: { failureThreshold: 600 } }
serviceMonitor: { enabled: true, scrapeTimeout: 5s, labels: { release: prometheus }, annotations: { m: n } }
prometheusRule: { enabled: true, runbookUrl: 'https://wiki.example.com/ringmain', labels: { release: prometheus } }
networkPolicy: { from: [{ namespaceSelector: {} }], ingress: [{ ports: [{ port: 9999, protocol: TCP }] }] }
service:
  type: LoadBalancer
  port: 443
  nodePort: 30443
  annotations: { a: b }
  labels: { s: t }
  externalTrafficPolicy: Local
  internalTrafficPolicy: Cluster
  loadBalancerClass: example.com/lb
  loadBalancerSourceRanges: [203.0.113.0/24]
ingress:
  enabled: true
  className: public
  annotations: { i: j }
  hosts: [events.example.com]
  tls: [{ hosts: [events.example.com], secretName: tls }]
podDisruptionBudget: { maxUnavailable: 25% }
serviceAccount: { name: other, annotations: { c: d } }
annotations: { k: l }
podAnnotations: { e: f }
podLabels: { g: h }
nodeSelector: { disk: fast }
tolerations: [{ key: x, operator: Exists }]
affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [{ key: disk, operator: Exists }] }] } } }
topologySpreadConstraints:
  - { maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: { matchLabels: { team: web } } }
priorityClassName: high
runtimeClassName: gvisor
schedulerName: other
hostAliases: [{ ip: 192.0.2.1, hostnames: [kafka] }]
dnsPolicy: None
dnsConfig: { nameservers: [192.0.2.53] }
extraObjects:
  - { apiVersion: v1, kind: ConfigMap, metadata: { name: '{{ .Release.Name }}-more' }, data: { a: b } }`,
  least: `
autoscaling: { enabled: false }
drain: { enabled: false }
podDisruptionBudget: { enabled: false }
serviceAccount: { create: false }
networkPolicy: { enabled: false }`,
};

test('helm lints the chart, and each shape of it is valid Kubernetes', async (t) => {
  await runProgram(await helm(), ['lint', '--strict', chart]);
  for (const [name, values] of Object.entries(shapes)) {
    const { file, objects } = await rendered(t, values);
    // Between versions only the shape that has everything can differ.
    for (const version of name === 'everything' ? VERSIONS : VERSIONS.slice(0, 1)) {
      const report = await validateManifests(file, version);
      const passed = report.match(/ passed for resource /g)?.length ?? 0;
      assert.ok(passed >= objects.length - 2, `${name}, ${version}: only ${passed} objects were looked at\n${report}`);
    }
  }
});

// Goal: the gateway finds imgproxy and its uploads there. Method: both files side by side.
test('imgproxy beside the gateway is valid Kubernetes, and both mount one claim and share the key', async (t) => {
  const file = join(deployFolder, 'k8s', 'imgproxy.yaml');
  assert.equal((await validateManifests(file, VERSIONS[0]!)).match(/ passed for resource /g)?.length, 4);
  const text = readFileSync(file, 'utf8');
  const gateway = parse(shapes['gateway']!);
  assert.equal(gateway.extraVolumes[0].persistentVolumeClaim.claimName, 'ringmain-uploads');
  assert.equal(text.match(/ringmain-uploads/g)?.length, 2);
  for (const option of ['IMGPROXY_KEY', 'IMGPROXY_SALT']) {
    const { name, key } = gateway.secrets[option];
    assert.match(
      text,
      new RegExp(`name: ${option}\\n +valueFrom: \\{ secretKeyRef: \\{ name: ${name}, key: ${key} \\} \\}`),
    );
  }
  const { objects } = await rendered(t, shapes['gateway']!);
  const [serving] = objectOf(objects, 'StatefulSet').spec.template.spec.containers;
  assert.equal(serving!.securityContext.readOnlyRootFilesystem, true);
  for (const option of ['CACHE_DIR', 'UPLOAD_DIR']) {
    const path = serving!.env.find(({ name }) => name === option)!.value;
    assert.ok(
      serving!.volumeMounts.some(({ mountPath }) => `${path}/`.startsWith(`${mountPath}/`)),
      `${option} lies in no volume: ${path}`,
    );
  }
  const { labels } = objectOf(objects, 'StatefulSet').spec.template.metadata as { labels: Record<string, string> };
  assert.ok('app.kubernetes.io/instance' in labels, 'the label that the policy of imgproxy lets in');
});

// Goal: the shapes of the document: a release for each role, and servers to try it with.
test('the SMS gateway is a release for each role, on ports of their own; its servers are valid Kubernetes', async (t) => {
  const file = join(deployFolder, 'k8s', 'sms-servers.yaml');
  assert.equal((await validateManifests(file, VERSIONS[0]!)).match(/ passed for resource /g)?.length, 6);
  const servers = readFileSync(file, 'utf8');
  const ports: Record<string, number> = { api: 8080, worker: 8082, reporting: 8081, partitions: 8083 };
  for (const role of smsRoles) {
    const { objects } = await rendered(t, shapes[`sms ${role}`]!);
    const { args, ports: open, env } = objectOf(objects, 'StatefulSet').spec.template.spec.containers[0]!;
    assert.deepEqual([args, open], [['sms', role], [{ name: 'http', containerPort: ports[role] }]]);
    assert.ok(drainJob(objects).spec.template.spec.containers[0]!.args!.includes('--service=sms'));
    const brokers = env.find(({ name }) => name === 'KAFKA_BROKER_URLS')?.value;
    if (role !== 'partitions')
      assert.ok(servers.includes(`PLAINTEXT://${brokers}`), 'the broker tells of itself by that name');
    const archive = env.find(({ name }) => name === 'ARCHIVE_DIR')?.value;
    assert.equal(archive, role === 'partitions' ? '/data/archive' : undefined, 'in the volume of the pod');
  }
});

// Goal: one release has all roles, and both ports lead somewhere. Method: the ports of the pod, the services and the policy.
test('the SMS gateway is one release as well: every role in one pod, with both ports', async (t) => {
  const { objects } = await rendered(t, shapes['sms all']!);
  const set = objectOf(objects, 'StatefulSet');
  const { args, ports: open, env, volumeMounts } = set.spec.template.spec.containers[0]!;
  assert.deepEqual(args, ['sms', 'all']);
  assert.equal(set.spec.replicas, 1, 'chdb has one owner');
  assert.deepEqual(open, [
    { name: 'http', containerPort: 8080 },
    { name: 'reporting', containerPort: 8081 },
  ]);
  const services = objects.filter(({ kind }) => kind === 'Service');
  assert.equal(services.length, 2);
  for (const { spec, metadata } of services)
    assert.ok(
      spec.ports?.some(({ name, port, targetPort }) => name === 'reporting' && port === 8081 && targetPort === name),
      metadata.name,
    );
  const [client] = objectOf(objects, 'NetworkPolicy', 'ringmain').spec.ingress!;
  assert.deepEqual(
    client!.ports.map(({ port }) => port as unknown),
    ['http', 'reporting'],
  );
  for (const option of ['CHDB_DIR', 'CLICKHOUSE_DIR', 'ARCHIVE_DIR'])
    assert.match(env.find(({ name }) => name === option)!.value, /^\/data\//, 'in the volume of the pod');
  assert.ok(volumeMounts.some(({ mountPath }) => mountPath === '/data'));
  const without = await rendered(t, `${shapes['sms all']}\n`.replace('config:', "config:\n  REPORTS: 'off'"));
  assert.deepEqual(objectOf(without.objects, 'StatefulSet').spec.template.spec.containers[0]!.ports, [
    { name: 'http', containerPort: 8080 },
  ]);
});

test('the plain manifests are those of the chart', async (t) => {
  const { text } = await rendered(t, '{}');
  const committed = readFileSync(join(deployFolder, 'k8s', 'manifests.yaml'), 'utf8');
  assert.equal(committed, text, 'stale: run deploy/k8s/render.sh > deploy/k8s/manifests.yaml');
});

test('run chooses the service: its port, its arguments, and whose journal a drain delivers', async (t) => {
  const { objects } = await rendered(t, shapes['analytics api']!);
  const [container] = objectOf(objects, 'StatefulSet').spec.template.spec.containers;
  assert.deepEqual(container!.args, ['analytics', 'api']);
  assert.deepEqual(container!.ports, [{ name: 'http', containerPort: 8080 }]);
  const processor = await rendered(t, readFileSync(join(deployFolder, 'k8s', 'analytics-processor.yaml'), 'utf8'));
  const [storing] = objectOf(processor.objects, 'StatefulSet').spec.template.spec.containers;
  assert.deepEqual(storing!.ports, [{ name: 'http', containerPort: 8081 }]);
  assert.ok(drainJob(objects).spec.template.spec.containers[0]!.args!.includes('--service=analytics'));
  await assert.rejects(rendered(t, 'run: [analytics, processors]'), /run/);
  const gateway = await rendered(t, shapes['gateway']!);
  const [serving] = objectOf(gateway.objects, 'StatefulSet').spec.template.spec.containers;
  assert.deepEqual([serving!.args, serving!.ports], [['gateway'], [{ name: 'http', containerPort: 8080 }]]);
  assert.ok(drainJob(gateway.objects).spec.template.spec.containers[0]!.args!.includes('--service=gateway'));
  await assert.rejects(rendered(t, 'run: [gateway]\nconfig: { SERVER_PORT: 8081 }'), /SERVER_ADDR must be given/);
});

test('pods keep to what the collector needs and no more', async (t) => {
  const { objects } = await rendered(t, shapes['everything']!);
  const set = objectOf(objects, 'StatefulSet');
  const cron = objectOf(objects, 'CronJob');
  const job = drainJob(objects);
  const pods = [set.spec.template.spec, cron.spec.jobTemplate.spec.template.spec, job.spec.template.spec];
  for (const pod of pods) {
    assert.equal(pod.enableServiceLinks, false);
    assert.equal(pod.securityContext.runAsNonRoot, true);
    for (const { securityContext } of pod.containers.filter(({ name }) => name !== 'shipper')) {
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
  assert.deepEqual(collector.envFrom, drain.envFrom);
  assert.deepEqual(collector.volumeMounts, drain.volumeMounts);
  assert.deepEqual(pods[0]!.initContainers, pods[2]!.initContainers, 'the drain could not reach its sinks');
  const [own, ...others] = pods[2]!.volumes!;
  assert.deepEqual(others, pods[0]!.volumes);
  assert.equal(own?.name, 'journal');
  assert.deepEqual(
    pods.map((pod) => pod.containers.length),
    [2, 1, 1],
    'a container beside the drain would keep its Job from ending',
  );
  assert.equal(collector.readinessProbe.httpGet.path, '/readyz?sinks=ignore');
  assert.equal(collector.livenessProbe.httpGet.path, '/healthz');
  assert.deepEqual(set.spec.persistentVolumeClaimRetentionPolicy, { whenScaled: 'Retain', whenDeleted: 'Retain' });
  // Secrets are files: an environment can be read by whoever can read /proc or a crash report.
  assert.ok(collector.env.every(({ name }) => !/(DSN|PASSWORD)$/.test(name)));
  const value = (name: string) => collector.env.find((entry) => entry.name === name)?.value;
  assert.equal(value('PG_DSN_FILE'), '/run/secrets/ringmain/PG_DSN');
  assert.equal(value('TLS_CERT'), '/run/secrets/ringmain/TLS_CERT', 'an option that is a path');
  for (const { kind, metadata } of objects.filter(({ metadata: { name } }) => name !== 'ringmain-more')) {
    assert.equal(metadata.labels['team'], 'web', `${kind} ${metadata.name}`);
    assert.equal(metadata.annotations?.['owner'], 'web', `${kind} ${metadata.name}`);
  }

  const monitor = objectOf(objects, 'ServiceMonitor') as unknown as {
    spec: { endpoints: { path: string; relabelings: unknown }[] };
  };
  assert.equal(monitor.spec.endpoints[0]!.path, '/metrics');
  assert.deepEqual(
    monitor.spec.endpoints[0]!.relabelings,
    [{ targetLabel: 'job', replacement: 'ringmain' }],
    'alerts ask for job="ringmain"',
  );
});

const monitored = 'serviceMonitor: { enabled: true }';
const tls = 'secretFiles: { TLS_CERT: { name: a, key: b }, TLS_KEY: { name: a, key: c } }';
// What the chart makes of the options: port of the events, port that probes and Prometheus ask, how, and the grace period.
const followed: readonly (readonly [values: string, http: number, ops: number, scheme: string, grace: number])[] = [
  ['', 19_890, 19_890, 'HTTP', 55],
  ['config: { SERVER_ADDR: ":8080" }', 8080, 8080, 'HTTP', 55],
  ['config: { SERVER_ADDR: "[::]:8080", ADMIN_ADDR: "0.0.0.0:9000" }', 8080, 9000, 'HTTP', 55],
  [tls, 19_890, 19_890, 'HTTPS', 55],
  [`config: { ADMIN_ADDR: ":9000" }\n${tls}`, 19_890, 9000, 'HTTP', 55],
  ['config: { TLS_CERT: /tls/crt, TLS_KEY: /tls/key }', 19_890, 19_890, 'HTTPS', 55],
  ['config: { DRAIN_DELAY_MS: 0, DRAIN_TIMEOUT_MS: 0 }', 19_890, 19_890, 'HTTP', 15],
  ['config: { DRAIN_DELAY_MS: null, DRAIN_TIMEOUT_MS: null }', 19_890, 19_890, 'HTTP', 25],
  ['config: { DRAIN_DELAY_MS: 10500, DRAIN_TIMEOUT_MS: 1h }', 19_890, 19_890, 'HTTP', 3 + 11 + 3600 + 12],
  ['config: { DRAIN_TIMEOUT_MS: 1.5 M }\npreStopSeconds: 20', 19_890, 19_890, 'HTTP', 20 + 10 + 90 + 12],
  ['config: { DRAIN_TIMEOUT_MS: 3600000 }', 19_890, 19_890, 'HTTP', 3625],
];
test('the chart brings the rules and alerts of this folder, with links to a runbook of its own', async (t) => {
  const { objects } = await rendered(t, shapes['everything']!);
  const { spec } = objectOf(objects, 'PrometheusRule') as unknown as { spec: object };
  const groups = ['rules.yml', 'alerts.yml'].flatMap((file) => {
    const text = readFileSync(join(deployFolder, 'prometheus', file), 'utf8');
    const links = text.replaceAll(/file:.*RUNBOOK\.md#/g, 'https://wiki.example.com/ringmain#');
    return (parse(links) as { groups: object[] }).groups;
  });
  assert.deepEqual(spec, { groups });
});

test('the chart knows the defaults of the options that it follows', () => {
  const defaults = new Map(declaredIn([httpConfig, serviceConfig]).map(({ name, option }) => [name, option.default]));
  assert.deepEqual(
    ['SERVER_ADDR', 'ADMIN_ADDR', 'DRAIN_DELAY_MS', 'DRAIN_TIMEOUT_MS'].map((name) => defaults.get(name)),
    [':19890', '', 0, 10_000],
  );
});

test('ports, probes, services, network policy and grace period follow SERVER_ADDR, ADMIN_ADDR, TLS_CERT and DRAIN_*', async (t) => {
  for (const [values, http, ops, scheme, grace] of followed) {
    const { objects } = await rendered(t, `${monitored}\n${values}`);
    const pod = objectOf(objects, 'StatefulSet').spec.template.spec;
    const { ports, startupProbe, livenessProbe, readinessProbe } = pod.containers[0]!;
    const opsName = http === ops ? 'http' : 'admin';
    const expected = [{ name: 'http', port: http }, ...(http === ops ? [] : [{ name: 'admin', port: ops }])];
    assert.deepEqual(
      ports.map(({ name, containerPort: port }) => ({ name, port })),
      expected,
      values,
    );
    for (const { httpGet } of [startupProbe, livenessProbe, readinessProbe])
      assert.deepEqual([httpGet.port, httpGet.scheme], [opsName, scheme], values);
    assert.deepEqual(
      objectOf(objects, 'Service', 'ringmain-pods').spec.ports?.map(({ name, port }) => ({ name, port })),
      expected,
      values,
    );
    assert.equal(objectOf(objects, 'Service', 'ringmain').spec.ports?.[0]?.targetPort, 'http');
    const rules = objectOf(objects, 'NetworkPolicy', 'ringmain').spec.ingress!;
    assert.deepEqual(
      rules.map((rule) => rule.ports[0]!.port),
      ['http', opsName],
      values,
    );
    const [endpoint] = objectOf(objects, 'ServiceMonitor').spec.endpoints!;
    assert.equal(endpoint?.port, opsName, values);
    assert.equal(endpoint?.scheme, scheme === 'HTTPS' ? 'https' : undefined, values);
    assert.equal(pod.terminationGracePeriodSeconds, grace, values);
  }
});

test('nothing is drained where there is no journal', async (t) => {
  const { objects } = await rendered(t, 'config: { JOURNAL_DIR: "off", ACK: memory }');
  assert.deepEqual(
    objects.filter(({ metadata }) => metadata.name.includes('drain')),
    [],
  );
});

test('numbers, switches and lists of a values file and of --set reach the collector as they were written', async (t) => {
  const values = `
config:
  JOURNAL_MAX_BYTES: 17179869184
  MAX_CONNECTIONS: 1000000
  OTEL_TRACES_SAMPLER_ARG: 0.0001
  COOKIES: false
  OUTPUTS: [kafka, log]
  KAFKA_PARTITIONS: 12
  TRUST_PROXY: null
autoscaling: { enabled: false }
replicas: 1000000
drain: { timeoutSeconds: 2000000 }`;
  const { objects } = await rendered(t, values, ['--set', 'config.SEGMENT_BYTES=1073741824']);
  const set = objectOf(objects, 'StatefulSet');
  const env = Object.fromEntries(set.spec.template.spec.containers[0]!.env.map(({ name, value }) => [name, value]));
  const wanted = {
    JOURNAL_MAX_BYTES: '17179869184',
    SEGMENT_BYTES: '1073741824',
    MAX_CONNECTIONS: '1000000',
    OTEL_TRACES_SAMPLER_ARG: '0.0001',
    COOKIES: 'false',
    OUTPUTS: 'kafka,log',
    KAFKA_PARTITIONS: '12',
    TRUST_PROXY: undefined,
  };
  for (const [name, text] of Object.entries(wanted)) assert.equal(env[name], text, name);
  assert.equal(set.spec.replicas, 1_000_000);
  const { spec } = drainJob(objects);
  assert.deepEqual(spec.template.spec.containers[0]!.args, [
    'journal',
    'drain',
    '--service=pixel',
    '--timeout=2000000',
  ]);
  assert.equal((spec as unknown as { activeDeadlineSeconds: number }).activeDeadlineSeconds, 2_000_300);
});

describe('a value that is misspelt or cannot work is refused and named', () => {
  test.each([
    ['replica: 3', /'?replica'?/],
    ['config: { KAFKA_BROKER: kafka:9092 }', /KAFKA_BROKER/],
    ['config: { kafka_brokers: kafka:9092 }', /kafka_brokers/],
    ['config: { ACCEPTORS: many, MAX_CONNECTIONS: 1.5 }', /MAX_CONNECTIONS/],
    ['secrets: { TLS_CERT: { name: a, key: b } }', /TLS_CERT/],
    ['secretFiles: { PG_DSN: { name: a, key: b } }', /PG_DSN/],
    ['secrets: { PG_DSN: { name: a } }', /key/],
    ['secrets: { PG_DSN: { name: a, kee: b } }', /kee/],
    ['image: { tag: 1.20 }', /tag/],
    ['service: { ports: 80 }', /ports/],
    ['service: { type: Loadbalancer }', /type/],
    ['probes: { readiness: { periodSecond: 1 } }', /periodSecond/],
    ['prometheusRule: { enabled: true }', /prometheusRule.runbookUrl must say/],
    ['drain: { timeoutSecond: 1 }', /timeoutSecond/],
    ['resource: {}', /resource/],
    ['env: { A: b }', /env/],
    ['env: [{ nane: A }]', /name/],
    ['podDisruptionBudget: { maxUnavailable: half }', /maxUnavailable/],
    ['config: { SERVER_ADDR: "127.0.0.1:19890" }', /must be reached by the kubelet/],
    ['config: { ADMIN_ADDR: "localhost:9000" }', /must be reached by the kubelet/],
    ['config: { SERVER_ADDR: "8080" }', /SERVER_ADDR must be host:port/],
    [
      'run: [sms]\nconfig: { HTTP_PORT: "9000" }',
      /SERVER_ADDR or REPORTING_ADDR must be given in place of config.HTTP_PORT/,
    ],
    ['run: [sms]\nenv: [{ name: REPORTING_ADDR, value: ":9" }]', /REPORTING_ADDR must be in config, not in env/],
    ['config: { DRAIN_DELAY_MS: soon }', /DRAIN_DELAY_MS must be a duration/],
    ['config: { JOURNAL_DIR: /var/lib/journal }', /JOURNAL_DIR must lie under/],
    ['env: [{ name: ADMIN_ADDR, value: ":9000" }]', /ADMIN_ADDR must be in config/],
    ['env: [{ name: ACK, value: sync }]', /ACK must be in config or in env/],
    ['config: { PG_DSN: x }\nsecrets: { PG_DSN: { name: a, key: b } }', /PG_DSN must be in config or in a Secret/],
  ])('%s', async (values, named) => {
    await assert.rejects(rendered({ onTestFinished: () => undefined }, values), named);
  });
});

test('each service finds the environment of the manifests and of the compose files valid', async (t) => {
  const { objects } = await rendered(t, shapes['everything']!);
  const { folder, remove } = temporaryFolder('ringmain-env-');
  t.onTestFinished(remove);
  const secret = join(folder, 'secret');
  writeFileSync(secret, 'postgres://user:password@db.example/ringmain');
  const { keyFile, certificateFile } = await (await authority(t)).issue('tls');
  const key = join(folder, 'key');
  writeFileSync(key, 'abcdef0123456789abcdef0123456789');
  const address = join(folder, 'address');
  writeFileSync(address, 'http://sms:password@clickhouse.example:8123/sms');
  for (const operator of ['mci', 'irancell']) writeFileSync(join(folder, operator), 'token-of-an-operator');
  const special: Readonly<Record<string, string>> = { CLICKHOUSE_URL_FILE: address };
  const hex = (name: string) => special[name] ?? (/^IMGPROXY_/.test(name) ? key : undefined);
  const files: Readonly<Record<string, string>> = { TLS_KEY: keyFile, TLS_CERT: certificateFile };
  interface Started {
    /** What stands on the command line behind `ringmain`. */
    readonly run: readonly string[];
    readonly given: Readonly<Record<string, string>>;
  }
  const environments = new Map<string, Started>();
  const sms = smsFiles.map((role) => `sms-${role}.yaml`);
  const others = ['analytics-api.yaml', 'analytics-processor.yaml', 'gateway.yaml', ...sms].map((file) =>
    readFileSync(join(deployFolder, 'k8s', file), 'utf8'),
  );
  const charts = [objects, ...(await Promise.all(others.map(async (values) => (await rendered(t, values)).objects)))];
  for (const chartObjects of charts) {
    const { args, env } = objectOf(chartObjects, 'StatefulSet').spec.template.spec.containers[0]!;
    const given = Object.fromEntries(env.map(({ name, value = 'from a Secret' }) => [name, value]));
    environments.set(`chart ${args}`, { run: args!, given });
  }
  for (const file of [
    'local/docker-compose.yml',
    'local/docker-compose.scale.yml',
    'analytics/docker-compose.yml',
    'gateway/docker-compose.yml',
    'sms/docker-compose.yml',
  ]) {
    // Variables of the shell have their defaults.
    const source = readFileSync(join(deployFolder, file), 'utf8').replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1');
    const { services } = parse(source, { merge: true }) as {
      services: Record<string, { image?: string; command?: readonly string[]; environment?: Record<string, string> }>;
    };
    for (const [name, { image, command = ['pixel'], environment }] of Object.entries(services))
      if (
        image?.startsWith('ringmain:') &&
        environment !== undefined &&
        command[0] !== 'migrate' &&
        command[1] !== 'topics'
      )
        environments.set(`${file} ${name}`, { run: command, given: environment });
  }
  assert.equal(environments.size, 20);
  for (const [where, { run, given }] of environments) {
    const env = Object.fromEntries(
      Object.entries(given).map(([name, value]) => [
        name,
        name.endsWith('_FILE')
          ? (hex(name) ?? secret)
          : (files[name] ?? value.replace(/^\/(?:data|uploads)/, folder).replaceAll('/run/operators', folder)),
      ]),
    );
    const { PATH } = process.env;
    const said = await runProgram(
      'node',
      [main, ...run.map((word) => word.replace('/app/', `${deployFolder}/gateway/`)), '--check-config'],
      {
        cwd: folder,
        env: { PATH, ...env },
      },
    ).catch((error: Error) => assert.fail(`${where}: ${error.message}`));
    assert.doesNotMatch(said, /unknown|nearest|did you mean/i, where);
  }
});
