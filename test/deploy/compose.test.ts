/** The compose files and what stands around them: the schema that docker compose itself uses, mounts that exist, pinned images in the table of versions. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'vitest';
import { parse } from 'yaml';
import { ensureCommand } from '../servers/apt.ts';
import { runProgram, temporaryFolder } from '../servers/process.ts';
import { deployFolder } from './local-postgres.ts';
import { composeSchema, hadolint, python } from './tools.ts';

const local = join(deployFolder, 'local');
const files = ['docker-compose.yml', 'docker-compose.scale.yml'];

interface Service {
  readonly image?: string;
  readonly volumes?: readonly string[];
  readonly depends_on?: readonly string[] | Readonly<Record<string, unknown>>;
  readonly stop_grace_period?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
  readonly ports?: readonly string[];
}
interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes?: Readonly<Record<string, unknown>>;
  readonly secrets?: Readonly<Record<string, { file: string }>>;
}
const read = (file: string) => parse(readFileSync(join(local, file), 'utf8'), { merge: true }) as Compose;
const both = files.map(read);
const services = both.flatMap((file) => Object.entries(file.services));

test('the compose files fit the compose schema', async (t) => {
  const schema = await composeSchema();
  const { folder, remove } = temporaryFolder('ringmain-compose-');
  t.onTestFinished(remove);
  for (const [i, compose] of both.entries()) {
    const file = join(folder, files[i]!);
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
  const volumes = new Set(both.flatMap((file) => Object.keys(file.volumes ?? {})));
  const secrets = new Map(both.flatMap((file) => Object.entries(file.secrets ?? {})));
  const names = new Set(services.map(([name]) => name));
  for (const [name, service] of services) {
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':');
      const there = source.startsWith('.') ? existsSync(resolve(local, source)) : volumes.has(source);
      assert.ok(there, `${name} mounts what is not there: ${source}`);
    }
    for (const secret of service.secrets ?? [])
      assert.ok(existsSync(resolve(local, secrets.get(secret)!.file)), `${name}: ${secret}`);
    for (const other of Array.isArray(service.depends_on) ? service.depends_on : Object.keys(service.depends_on ?? {}))
      assert.ok(names.has(other as string), `${name} depends on what is not there: ${other}`);
    for (const port of service.ports ?? [])
      assert.match(port, /^127\.0\.0\.1:/, `${name} is open to the network: ${port}`);
  }
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
