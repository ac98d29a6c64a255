/**
 * Runs the steps of our Dockerfile without a docker engine. Each stage is a layer over this machine's root, entered by chroot in a mount
 * namespace of its own, so that absolute paths are real and nothing outside changes. What FROM would bring, Node and a Debian, is this
 * machine's. An instruction that our Dockerfile does not use is an error.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runProgram } from '../servers/process.ts';

export interface Image {
  readonly env: Readonly<Record<string, string>>;
  /** What is only declared, as it stands: LABEL, USER, HEALTHCHECK, ... */
  readonly declared: Readonly<Record<string, string>>;
  /** Paths of the build context that were copied. */
  readonly copied: readonly string[];
  /** The command that runs a shell with these lines in the image: read-only but for its volume, as by `docker run --read-only`. */
  enter(lines: readonly string[]): string[];
}

const DECLARED = ['LABEL', 'USER', 'VOLUME', 'EXPOSE', 'STOPSIGNAL', 'HEALTHCHECK', 'ENTRYPOINT', 'CMD'];
/** PATH of the official image. */
const IMAGE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The lines of a Dockerfile as [WORD, rest], continuations joined, comments gone. */
export function instructions(text: string): [word: string, rest: string][] {
  const whole = text.replaceAll(/^\s*#.*\n/gm, '').replaceAll(/\\\n\s*/g, ' ');
  return [...whole.matchAll(/^(\w+)\s+(.*)$/gm)].map(([, word, rest]) => [word!, rest!]);
}

export async function buildImage(
  context: string,
  dockerfile: string,
  work: string,
  args: Readonly<Record<string, string>>,
): Promise<Image> {
  const layers = new Map<string, string>();
  const declared: Record<string, string> = {};
  const copied: string[] = [];
  let [layer, workdir, env]: [string, string, Record<string, string>] = ['', '/', {}];
  for (const [word, rest] of instructions(readFileSync(dockerfile, 'utf8'))) {
    const words = rest.split(' ');
    if (word === 'FROM') {
      layer = newLayer(join(work, `stage-${layers.size}`));
      layers.set(words[2] ?? '', layer);
      [workdir, env] = ['/', { PATH: IMAGE_PATH }];
    } else if (word === 'WORKDIR') {
      workdir = rest;
      mkdirSync(join(layer, workdir), { recursive: true });
    } else if (word === 'ARG') {
      const [name = '', initial = ''] = rest.split('=');
      env[name] = args[name] ?? initial;
    } else if (word === 'ENV') {
      for (const [, name, value] of rest.matchAll(/(\w+)=(\S+)/g)) env[name!] = value!;
    } else if (word === 'RUN') {
      const [command, ...more] = inRoot(layer, 'rw', '', [`cd ${workdir}`, rest]);
      await runProgram(command!, more, { env: { ...process.env, ...env } });
    } else if (word === 'COPY') {
      // What a stage has written itself lies in its layer: what is not there was never made.
      const stage = /^--from=(.+)$/.exec(words[0]!)?.[1];
      const paths = stage === undefined ? words : words.slice(1);
      const from = stage === undefined ? context : layers.get(stage)!;
      const target = join(layer, workdir, paths.pop()!);
      mkdirSync(dirname(target), { recursive: true });
      await runProgram('cp', ['-a', '--no-preserve=ownership', ...paths.map((path) => join(from, path)), target]);
      if (stage === undefined) copied.push(...paths);
    } else if (DECLARED.includes(word)) {
      declared[word] = rest;
    } else throw new Error(`instruction is not known to the test: ${word} ${rest}`);
  }
  const last = layer;
  const volume = declared['VOLUME'] ?? '';
  return { env, declared, copied, enter: (lines) => inRoot(last, 'ro', volume, lines) };
}

function newLayer(layer: string): string {
  for (const folder of [layer, `${layer}.work`, `${layer}.root`]) mkdirSync(folder, { recursive: true });
  // The image's root takes its mode from here; that of a temporary folder would keep the image's user out.
  chmodSync(layer, 0o755);
  // The base image has its Node where every user may run it; the one that runs this test may lie in root's own cache.
  const bin = join(layer, 'usr', 'local', 'bin');
  mkdirSync(bin, { recursive: true });
  copyFileSync(process.execPath, join(bin, 'node'));
  chmodSync(join(bin, 'node'), 0o755);
  return layer;
}

function inRoot(layer: string, mode: 'rw' | 'ro', volume: string, lines: readonly string[]): string[] {
  const root = `${layer}.root`;
  const steps = [
    `mount -t overlay overlay -o ${mode},lowerdir=/,upperdir=${layer},workdir=${layer}.work ${root}`,
    ...['proc', 'dev'].map((name) => `mount --rbind /${name} ${root}/${name}`),
    ...(volume === '' ? [] : [`mount --bind ${layer}${volume} ${root}${volume}`]),
    `exec chroot ${root} sh -ec "$0"`,
  ];
  return ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', steps.join('\n'), lines.join('\n')];
}
