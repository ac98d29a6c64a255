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

const shapes: Readonly<Record<string, string>> = {
  defaults: '{}',
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

test('the plain manifests are those of the chart', async (t) => {
  const { text } = await rendered(t, '{}');
  const committed = readFileSync(join(deployFolder, 'k8s', 'manifests.yaml'), 'utf8');
  assert.equal(committed, text, 'stale: run deploy/k8s/render.sh > deploy/k8s/manifests.yaml');
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
  assert.deepEqual(spec.template.spec.containers[0]!.args, ['journal', 'drain', '--timeout=2000000']);
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
    ['config: { DRAIN_DELAY_MS: soon }', /DRAIN_DELAY_MS must be a duration/],
    ['config: { JOURNAL_DIR: /var/lib/journal }', /JOURNAL_DIR must lie under/],
    ['env: [{ name: ADMIN_ADDR, value: ":9000" }]', /ADMIN_ADDR must be in config/],
    ['env: [{ name: ACK, value: sync }]', /ACK must be in config or in env/],
    ['config: { PG_DSN: x }\nsecrets: { PG_DSN: { name: a, key: b } }', /PG_DSN must be in config or in a Secret/],
  ])('%s', async (values, named) => {
    await assert.rejects(rendered({ onTestFinished: () => undefined }, values), named);
  });
});

test('the collector finds the environment of the manifests and of the compose files valid', async (t) => {
  const { objects } = await rendered(t, shapes['everything']!);
  const { folder, remove } = temporaryFolder('ringmain-env-');
  t.onTestFinished(remove);
  const secret = join(folder, 'secret');
  writeFileSync(secret, 'postgres://u:p@db/ringmain');
  const { keyFile, certificateFile } = await (await authority(t)).issue('tls');
  const files: Readonly<Record<string, string>> = { TLS_KEY: keyFile, TLS_CERT: certificateFile };
  const environments = new Map<string, Record<string, string>>();
  const set = objectOf(objects, 'StatefulSet');
  environments.set(
    'chart',
    Object.fromEntries(
      set.spec.template.spec.containers[0]!.env.map(({ name, value = 'from a Secret' }) => [name, value]),
    ),
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
        name.endsWith('_FILE') ? secret : (files[name] ?? value.replace(/^\/data/, folder)),
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
