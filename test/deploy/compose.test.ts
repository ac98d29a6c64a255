/** The compose files and what stands around them: the schema that docker compose itself uses, mounts that exist, pinned images in the table of versions. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { test } from 'vitest';
import { parse } from 'yaml';
import { ensureCommand } from '../servers/apt.ts';
import { runProgram, temporaryFolder } from '../servers/process.ts';
import { deployFolder } from './local-postgres.ts';
import { composeSchema, hadolint, python } from './tools.ts';

const local = join(deployFolder, 'local');
const files = [
  'local/docker-compose.yml',
  'local/docker-compose.scale.yml',
  'analytics/docker-compose.yml',
  'gateway/docker-compose.yml',
  'sms/docker-compose.yml',
];

interface Service {
  readonly image?: string;
  readonly volumes?: readonly string[];
  readonly depends_on?: readonly string[] | Readonly<Record<string, unknown>>;
  readonly stop_grace_period?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
  readonly ports?: readonly string[];
  readonly container_name?: string;
  readonly networks?: readonly string[];
}
interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes?: Readonly<Record<string, unknown>>;
  readonly secrets?: Readonly<Record<string, { file: string }>>;
  readonly networks?: Readonly<Record<string, { readonly internal?: boolean }>>;
}
const read = (file: string) => parse(readFileSync(join(deployFolder, file), 'utf8'), { merge: true }) as Compose;
const stacks = files.map((file) => ({ folder: join(deployFolder, dirname(file)), compose: read(file) }));
const services = stacks.flatMap(({ compose }) => Object.entries(compose.services));

test('the compose files fit the compose schema', async (t) => {
  const schema = await composeSchema();
  const { folder, remove } = temporaryFolder('ringmain-compose-');
  t.onTestFinished(remove);
  for (const [i, { compose }] of stacks.entries()) {
    const file = join(folder, `${i}.json`);
    writeFileSync(file, JSON.stringify(compose));
    const validate =
      'import json, sys, jsonschema; jsonschema.validate(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])))';
    await python(['-c', validate, file, schema]);
    writeFileSync(file, JSON.stringify({ ...compose, services: { x: { imagine: 'x' } } }));
    await assert.rejects(python(['-c', validate, file, schema]), /imagine/, 'the schema refuses nothing');
  }
});

test('hadolint has nothing to say about the Dockerfile', async () => {
  await runProgram(await hadolint(), ['--failure-threshold', 'style', join(deployFolder, 'docker', 'Dockerfile')]);
});

test('whatever the compose files name is there: files, volumes, secrets, services', () => {
  for (const { folder, compose } of stacks) {
    // Files of one folder are used together.
    const beside = stacks.filter((other) => other.folder === folder).map((other) => other.compose);
    const names = beside.flatMap((other) => Object.keys(other.services));
    const volumes = beside.flatMap((other) => Object.keys(other.volumes ?? {}));
    const secrets = Object.assign({}, ...beside.map((other) => other.secrets)) as NonNullable<Compose['secrets']>;
    for (const [name, service] of Object.entries(compose.services)) {
      for (const volume of service.volumes ?? []) {
        const [source = ''] = volume.split(':');
        const there = source.startsWith('.') ? existsSync(resolve(folder, source)) : volumes.includes(source);
        assert.ok(there, `${name} mounts what is not there: ${source}`);
      }
      for (const secret of service.secrets ?? [])
        assert.ok(existsSync(resolve(folder, secrets[secret]!.file)), `${name}: ${secret}`);
      const others = service.depends_on ?? [];
      for (const other of Array.isArray(others) ? others : Object.keys(others))
        assert.ok(names.includes(other as string), `${name} depends on what is not there: ${other}`);
      for (const port of service.ports ?? [])
        assert.match(port, /^127\.0\.0\.1:/, `${name} is open to the network: ${port}`);
    }
  }
});

// Goal: the commands of the document in which analytics was asked for.
test('the compose file of analytics has the names that its document uses', () => {
  const { services: named } = read('analytics/docker-compose.yml');
  for (const name of ['zookeeper', 'kafka', 'postgres', 'migrator', 'api', 'processor'])
    assert.ok(name in named, `docker-compose up -d ${name}`);
  assert.equal(named['postgres']!.container_name, 'postgres', 'docker exec postgres psql -U admin -d analytics');
  assert.deepEqual(named['postgres']!.environment, {
    POSTGRES_USER: 'admin',
    POSTGRES_PASSWORD: 'secret',
    POSTGRES_DB: 'analytics',
  });
  assert.ok(named['api']!.ports!.includes('127.0.0.1:8080:8080'), 'http://localhost:8080');
  assert.ok(named['kafka']!.ports!.includes('127.0.0.1:9092:9092'), 'KAFKA_BROKER_URLS=localhost:9092');
  assert.equal(named['api']!.environment!['ACCESS'], 'open');
});

// Goal: nobody walks around the gateway, and what is uploaded is what imgproxy reads.
test('the compose file of the gateway has the names of its document, and imgproxy is reached by the gateway alone', () => {
  const { services: named, networks } = read('gateway/docker-compose.yml');
  for (const name of ['postgres', 'redis', 'prometheus', 'imgproxy-1', 'imgproxy-2', 'gateway'])
    assert.ok(name in named, name);
  assert.deepEqual(named['gateway']!.ports, ['127.0.0.1:8080:8080']);
  assert.deepEqual(named['gateway']!.networks, ['default', 'backends']);
  const { environment = {}, volumes = [] } = named['gateway']!;
  const uploads = volumes.find((volume) => volume.startsWith('uploads:'))!.split(':')[1];
  assert.equal(environment['UPLOAD_DIR'], uploads);
  // The root is read-only: what is written lies in a volume.
  const writable = volumes.map((volume) => volume.split(':')).filter(([, , mode]) => mode !== 'ro');
  for (const name of ['CACHE_DIR', 'JOURNAL_DIR'])
    assert.ok(
      writable.some(([, path]) => environment[name]?.startsWith(`${path}/`)),
      name,
    );
  const backends = JSON.parse(environment['BACKENDS']!) as readonly { url: string }[];
  assert.deepEqual(
    backends.map(({ url }) => url),
    ['http://imgproxy-1:8080', 'http://imgproxy-2:8080'],
  );
  assert.equal(networks!['backends']!.internal, true);
  for (const name of ['imgproxy-1', 'imgproxy-2']) {
    const { networks: own, ports, volumes: mounts, environment: given = {} } = named[name]!;
    assert.deepEqual([own, ports], [['backends'], undefined], name);
    assert.deepEqual(mounts, [`uploads:${given['IMGPROXY_LOCAL_FILESYSTEM_ROOT']}:ro`], name);
    for (const key of ['IMGPROXY_KEY', 'IMGPROXY_SALT']) {
      assert.equal(given[key], environment[key], `${name}: ${key}`);
      assert.match(given[key]!, /:-[0-9a-f]{64}\}$/);
    }
  }
});

// Goal: the services, ports and servers of the document in which the SMS gateway was asked for.
test('the compose file of the SMS gateway has the services of its document, and each writes into a volume', () => {
  const { services: named } = read('sms/docker-compose.yml');
  for (const name of ['api', 'worker', 'reporting', 'partitions', 'postgres', 'kafka', 'clickhouse'])
    assert.ok(name in named, name);
  assert.deepEqual(named['api']!.ports, ['127.0.0.1:8080:8080']);
  assert.deepEqual(named['reporting']!.ports, ['127.0.0.1:8081:8081']);
  const { environment: archiving = {}, volumes = [] } = named['partitions']!;
  assert.ok(volumes.some((volume) => archiving['ARCHIVE_DIR']!.startsWith(`${volume.split(':')[1]}/`)));
  const shared = ['DATABASE_URL', 'KAFKA_BROKER_URLS', 'KEY_PEPPER'];
  for (const name of ['worker', 'reporting', 'partitions'])
    for (const option of shared)
      assert.equal(named[name]!.environment![option], named['api']!.environment![option], `${name}: ${option}`);
  assert.equal(
    named['worker']!.environment!['OPERATORS'],
    named['api']!.environment!['OPERATORS'],
    'tokens of receipts',
  );
  const { scrape_configs: jobs } = parse(readFileSync(join(deployFolder, 'sms', 'prometheus.yml'), 'utf8'));
  assert.equal(jobs[0].job_name, 'ringmain');
  for (const target of jobs[0].static_configs[0].targets as string[]) assert.ok(target.split(':')[0]! in named, target);
});

// Goal: rules and alerts are about the job `ringmain`, and the document calls the job imgproxy-gateway.
test('Prometheus of the gateway scrapes the job of its document under the name that the rules know', () => {
  const { scrape_configs: jobs } = parse(readFileSync(join(deployFolder, 'gateway', 'prometheus.yml'), 'utf8'));
  assert.deepEqual(jobs, [
    {
      job_name: 'imgproxy-gateway',
      static_configs: [{ targets: ['gateway:8080'] }],
      metrics_path: '/metrics',
      relabel_configs: [{ target_label: 'job', replacement: 'ringmain' }],
    },
  ]);
});

test('containers are given the time that their drain takes', () => {
  for (const [name, { image, environment = {}, stop_grace_period: grace }] of services) {
    if (!image?.startsWith('ringmain:')) continue;
    const drainMs = Number(environment['DRAIN_DELAY_MS'] ?? 0) + Number(environment['DRAIN_TIMEOUT_MS'] ?? 10_000);
    assert.ok(
      Number.parseInt(grace ?? '10', 10) * 1000 > drainMs,
      `${name} would be killed in its drain: ${grace}, ${drainMs} ms`,
    );
  }
});

test('every image stands in the table of versions, and the table names no other', () => {
  const readme = readFileSync(join(deployFolder, 'README.md'), 'utf8');
  const table = readme.slice(readme.indexOf('## Versions'), readme.indexOf('\n## ', readme.indexOf('## Versions') + 1));
  const listed = new Set([...table.matchAll(/^\| `([^`]+:[^`]+)` \|/gm)].map(([, image]) => image!));
  const dockerfile = readFileSync(join(deployFolder, 'docker', 'Dockerfile'), 'utf8');
  const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image!);
  const used = new Set([...bases, ...services.flatMap(([, { image }]) => image ?? [])]);
  assert.deepEqual([...listed].sort(), [...used].sort());
});

test('HAProxy of the scaled stack is the example with a third collector', async (t) => {
  const scaled = readFileSync(join(local, 'haproxy.scale.cfg'), 'utf8');
  const example = readFileSync(join(deployFolder, 'haproxy', 'haproxy.cfg'), 'utf8');
  assert.equal(scaled, `${example}    server collector-3 collector-3:19890\n`);
  await ensureCommand('haproxy', 'haproxy');
  const { folder, remove } = temporaryFolder('ringmain-scale-');
  t.onTestFinished(remove);
  // Names of services are only known inside the compose network.
  const text = scaled
    .replaceAll(/ collector-\d:19890/g, ' 127.0.0.1:19890')
    .replace('maxconn 100000\n', 'maxconn 2000\n');
  writeFileSync(join(folder, 'haproxy.cfg'), text);
  await runProgram('haproxy', ['-c', '-f', join(folder, 'haproxy.cfg')]);
});
