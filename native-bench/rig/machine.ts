/** Where and on what a table was measured: the line that stands under each of them. */
import { execFileSync } from 'node:child_process';
import { readFileSync, statfsSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { between, machineTime } from './proc.ts';

const quiet = 0.05;
const fileSystems: Readonly<Record<number, string>> = {
  61267: 'ext4',
  16914836: 'tmpfs',
  1481003842: 'xfs',
  2435016766: 'btrfs',
};

/** What a command prints about itself (nginx and wrk print their version to stderr, wrk with a failing exit code). */
const printed = (command: string, ...args: string[]): string =>
  execFileSync('sh', ['-c', '"$0" "$@" 2>&1 || true', command, ...args], { encoding: 'utf8' });

/** The version in the first line of it. */
export function versionOf(command: string, ...args: string[]): string {
  return printed(command, ...args)
    .split('\n', 1)[0]!
    .replace(/^nginx version: |^go version go| Copyright.*$| \[epoll\]|^wrk (?:debian\/)?|linux\/\w+/g, '')
    .trim();
}

/** The version that stands behind a name anywhere in it: 'librdkafka 2.0.2'. */
export function versionBehind(name: string, command: string, ...args: string[]): string {
  return new RegExp(`${name}\\)? (\\d[\\w.]*)`).exec(printed(command, ...args))?.[1] ?? 'of unknown version';
}

/** 'name version' of a library of the tree. */
export function libraryVersion(name: string): string {
  const path = join(import.meta.dirname, '../../node_modules', name, 'package.json');
  return `${name} ${(JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version}`;
}

export function commitOf(tree: string): string {
  const git = (...args: string[]): string => execFileSync('git', ['-C', tree, ...args], { encoding: 'utf8' }).trim();
  try {
    // The last commit that changed what is measured: tables are committed after it, and that makes no other server of it.
    const harness = ['native-bench', ':!native-bench/*.md', ':!native-bench/plots'];
    const measured = ['--', 'src', ...harness, 'package.json', 'package-lock.json'];
    const changed = git('status', '--porcelain', ...measured) !== '';
    return git('log', '-1', '--format=%h', '--abbrev=10', ...measured) + (changed ? '+changes' : '');
  } catch {
    return 'no git';
  }
}

export interface Surroundings {
  /** What all tables of a run share. */
  readonly machine: string;
  readonly text: string;
}

/**
 * Looks at the machine for some time while nothing of ours runs. The load average alone would not do: it still remembers
 * our own previous table.
 */
export async function surroundings(tree: string, command: string, lookMs = 1000): Promise<Surroundings> {
  const before = machineTime();
  await sleep(lookMs);
  const { busy, steal } = between(before, machineTime());
  const kind = statfsSync(process.env['BENCH_DIR'] ?? tmpdir()).type;
  const uws = JSON.parse(readFileSync(`${tree}/node_modules/uWebSockets.js/package.json`, 'utf8')) as {
    version: string;
  };
  const machine = [
    `${cpus().length} x ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    `Linux ${release()}, files on ${fileSystems[kind] ?? `a file system of type 0x${kind.toString(16)}`}`,
    `Node ${process.versions.node}, uWebSockets.js ${uws.version}, ${versionOf('nginx', '-v')}, wrk ${versionOf('wrk', '-v')}, Go ${versionOf('go', 'version')}`,
  ].join('; ');
  const text = [
    machine,
    `commit ${commitOf(tree)}`,
    `\`${command}\``,
    `${new Date().toISOString().slice(0, 16)}Z`,
    `before the run: load average ${loadavg()[0]!.toFixed(2)}, ${(busy * 100).toFixed(1)} % busy, ${(steal * 100).toFixed(1)} % stolen by the hypervisor`,
    ...(busy > quiet ? [`**the machine was not quiet: do not trust this table**`] : []),
  ].join('; ');
  return { machine, text };
}
