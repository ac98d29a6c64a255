/**
 * Programs that tests need and a fresh Debian lacks: installed by apt-get as root, once. A program that cannot be had
 * fails the run and says how to get it; no test is ever skipped for it.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { withLock } from './cache.ts';
import { runProgram } from './process.ts';

let updated = false;

/** Makes sure that `command` is on the PATH; installs `debianPackage` when it is not. */
export async function ensureCommand(command: string, debianPackage: string): Promise<void> {
  if (onPath(command)) return;
  if (process.getuid?.() !== 0) {
    throw new Error(
      `a program is missing and only root can install it: ${command}; run: apt-get install ${debianPackage}`,
    );
  }
  await withLock('apt', async () => {
    if (onPath(command)) return;
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const wait = ['-o', 'DPkg::Lock::Timeout=300'];
    if (!updated) await runProgram('apt-get', ['update', '-q', ...wait], { env });
    updated = true;
    await runProgram('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...wait, debianPackage], { env });
  });
  if (!onPath(command))
    throw new Error(`package was installed and brought no such program: ${command}, package=${debianPackage}`);
}

function onPath(command: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
