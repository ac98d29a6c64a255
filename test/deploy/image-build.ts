/**
 * Builds an image without a docker engine: each stage is an overlay over this machine's root, in a mount namespace that one process holds and the
 * steps enter, so that absolute paths are real and nothing outside changes. What FROM would bring, Node and a Debian, is this machine's.
 *
 * Understands what our Dockerfile uses: FROM AS, WORKDIR, COPY [--from], RUN, ARG, ENV, LABEL, USER, VOLUME, EXPOSE, STOPSIGNAL,
 * HEALTHCHECK, ENTRYPOINT, CMD. Anything else is an error.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runProgram, ServerProcess, type TestScope } from '../servers/process.ts';

export interface Image {
  readonly env: Readonly<Record<string, string>>;
  readonly labels: string;
  readonly user: string;
  readonly volume: string;
  readonly stopSignal: string;
  readonly healthcheck: readonly string[];
  readonly command: readonly string[];
  readonly from: readonly string[];
  /** Paths of the build context that were copied. */
  readonly copied: readonly string[];
  /** What to run so that a shell runs these lines in the image. */
  enter(lines: readonly string[]): string[];
  /** From now on the image is read-only but for its volume, as by `docker run --read-only`. */
  seal(): Promise<void>;
}

interface Stage {
  readonly name: string;
  readonly folder: string;
  readonly holder: ServerProcess;
  workdir: string;
  readonly env: Record<string, string>;
}

/** The lines of a Dockerfile as [WORD, rest], continuations joined, comments gone. */
export function instructions(text: string): [string, string][] {
  const whole = text.replaceAll(/^\s*#.*\n/gm, '').replaceAll(/\\\n\s*/g, ' ');
  return whole
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, word = '', rest = ''] = /^(\w+)\s+(.*)$/.exec(line.trim()) ?? [];
      return [word, rest];
    });
}

export async function buildImage(
  t: TestScope,
  context: string,
  dockerfile: string,
  work: string,
  args: Readonly<Record<string, string>>,
): Promise<Image> {
  const stages: Stage[] = [];
  const seen: Record<string, string> = {};
  const copied: string[] = [];
  const from: string[] = [];
  const stage = () => stages.at(-1)!;
  for (const [word, rest] of instructions(readFileSync(dockerfile, 'utf8'))) {
    seen[word] = rest;
    if (word === 'FROM') {
      const [image = '', , name = ''] = rest.split(' ');
      from.push(image);
      stages.push(await newStage(t, join(work, `stage-${stages.length}`), name));
    } else if (word === 'WORKDIR') {
      stage().workdir = rest;
      await inside(stage(), [`mkdir -p '${rest}'`]);
    } else if (word === 'ARG') {
      const [name = '', initial = ''] = rest.split('=');
      stage().env[name] = args[name] ?? initial;
    } else if (word === 'ENV') {
      Object.assign(stage().env, pairs(rest));
    } else if (word === 'RUN') {
      await inside(stage(), [`cd '${stage().workdir}'`, rest]);
    } else if (word === 'COPY') {
      await copy(stages, context, rest, copied);
    } else if (
      !['LABEL', 'USER', 'VOLUME', 'EXPOSE', 'STOPSIGNAL', 'HEALTHCHECK', 'ENTRYPOINT', 'CMD'].includes(word)
    ) {
      throw new Error(`instruction is not known to the test: ${word} ${rest}`);
    }
  }
  const last = stage();
  return {
    env: last.env,
    labels: seen['LABEL'] ?? '',
    user: seen['USER'] ?? '',
    volume: seen['VOLUME'] ?? '',
    stopSignal: seen['STOPSIGNAL'] ?? '',
    healthcheck: JSON.parse((seen['HEALTHCHECK'] ?? '').replace(/^.*CMD /, '')) as string[],
    command: [
      ...(JSON.parse(seen['ENTRYPOINT'] ?? '[]') as string[]),
      ...(JSON.parse(seen['CMD'] ?? '[]') as string[]),
    ],
    from,
    copied,
    enter: (lines) => chrooted(last, lines),
    seal: async () => {
      const [root, volume] = [join(last.folder, 'root'), join(last.folder, 'root', seen['VOLUME'] ?? '')];
      const mounts = `mount --bind ${volume} ${volume} && mount -o remount,bind,ro ${root}`;
      await runProgram('nsenter', ['--target', String(last.holder.pid), '--mount', 'sh', '-ec', mounts]);
    },
  };
}

/** PATH of the official image. */
const IMAGE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

async function newStage(t: TestScope, folder: string, name: string): Promise<Stage> {
  for (const part of ['upper', 'work', 'root']) mkdirSync(join(folder, part), { recursive: true });
  // The root of the overlay takes its mode from here; that of a temporary folder would keep the image's user out.
  chmodSync(join(folder, 'upper'), 0o755);
  // The base image has its Node where every user may run it; the one that runs this test may lie in root's own cache.
  const bin = join(folder, 'upper', 'usr', 'local', 'bin');
  mkdirSync(bin, { recursive: true });
  copyFileSync(process.execPath, join(bin, 'node'));
  chmodSync(join(bin, 'node'), 0o755);
  const mounts = [
    `mount -t overlay overlay -o lowerdir=/,upperdir=${folder}/upper,workdir=${folder}/work ${folder}/root`,
    `mount --rbind /proc ${folder}/root/proc`,
    `mount --rbind /dev ${folder}/root/dev`,
    'echo mounted; exec sleep 3600',
  ];
  const flags = ['--mount', '--propagation', 'private', 'sh', '-ec', mounts.join('\n')];
  const holder = new ServerProcess('unshare', flags, {}, folder);
  t.onTestFinished(() => holder.end('SIGTERM'));
  await holder.until(() => holder.log.includes('mounted'), 10_000);
  return { name, folder, holder, workdir: '/', env: { PATH: IMAGE_PATH } };
}

/** `A=1 B="two words"` as an object. */
function pairs(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/(\w+)=("[^"]*"|\S+)/g)].map(([, name, value]) => [name!, value!.replaceAll('"', '')]),
  );
}

async function copy(stages: readonly Stage[], context: string, rest: string, copied: string[]): Promise<void> {
  const stage = stages.at(-1)!;
  const words = rest.split(' ');
  const source = words[0]!.startsWith('--from=') ? stages.find(({ name }) => `--from=${name}` === words[0]) : undefined;
  const paths = source ? words.slice(1) : words;
  const target = join(stage.workdir, paths.at(-1)!);
  const many = paths.length > 2 || paths.at(-1)!.endsWith('/');
  // From the layer that a stage has written itself: what is not in it was never made there.
  const from = source ? join(source.folder, 'upper') : context;
  const root = `/proc/${stage.holder.pid}/root${join(stage.folder, 'root')}`;
  for (const path of paths.slice(0, -1)) {
    if (!source) copied.push(path);
    const to = join(root, many ? join(target, path.split('/').at(-1)!) : target);
    mkdirSync(join(to, '..'), { recursive: true });
    await runProgram('cp', ['-a', '--no-preserve=ownership', join(from, path), to]);
  }
}

async function inside(stage: Stage, lines: readonly string[]): Promise<void> {
  const [command = '', ...args] = chrooted(stage, lines);
  await runProgram(command, args, { env: { ...process.env, ...stage.env } });
}

function chrooted({ holder, folder }: Stage, lines: readonly string[]): string[] {
  const shell = ['chroot', join(folder, 'root'), 'sh', '-ec', lines.join('\n')];
  return ['nsenter', '--target', String(holder.pid), '--mount', ...shell];
}
