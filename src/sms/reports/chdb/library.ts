/**
 * Library: where chdb, the engine of ClickHouse as an npm package, is found. Its 543 MB are no dependency of this
 * package: whoever has a ClickHouse server never needs them. Without CLICKHOUSE_URL they are taken from CHDB_DIR, or
 * fetched there once, with npm, from the registry that npm is configured for.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

export const CHDB_VERSION = '3.4.0';
/** Ten minutes are enough for 150 MB over a slow line. */
const FETCH_MS_MAX = 10 * 60_000;
const SAID_MAX = 2000;

/** Where npm has put the package below a folder, or where it would. */
const packageIn = (folder: string): string => join(folder, 'node_modules', 'chdb', 'package.json');

/** A loader of what the folder holds; undefined: chdb is not there. */
export function chdbIn(folder: string): NodeJS.Require | undefined {
  const manifest = packageIn(resolve(folder));
  return existsSync(manifest) ? createRequire(manifest) : undefined;
}

/**
 * Makes sure that the folder holds chdb. A folder that exists is whole: it is built under another name and renamed. Of
 * two processes that fetch at once, the second throws its copy away. Rejects with what npm said.
 */
export async function provideChdb(folder: string, signal: AbortSignal, tell: (line: string) => void): Promise<void> {
  if (chdbIn(folder) !== undefined) return;
  const target = resolve(folder);
  const draft = `${target}.${process.pid}.draft`;
  tell(`fetching chdb ${CHDB_VERSION} (150 MB) with npm`);
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true });
  try {
    writeFileSync(join(draft, 'package.json'), '{"private":true}\n');
    await npm(['install', `chdb@${CHDB_VERSION}`, '--save-exact', '--no-audit', '--no-fund'], draft, signal);
    if (chdbIn(target) !== undefined) return;
    // An empty folder may stand there: a volume is mounted before anything is in it.
    rmSync(target, { recursive: true, force: true });
    renameSync(draft, target);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

function npm(words: readonly string[], cwd: string, signal: AbortSignal): Promise<void> {
  return new Promise((done, failed) => {
    const child = spawn('npm', words, { cwd, signal, timeout: FETCH_MS_MAX, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (piece: Buffer) => {
        said = (said + piece.toString('utf8')).slice(-SAID_MAX);
      });
    const reason = (text: string): Error =>
      new Error(
        `chdb must be in CHDB_DIR, or npm must be able to fetch it (or set CLICKHOUSE_URL): ${text} ${said.replaceAll(/\s+/g, ' ').trim()}`,
      );
    child.once('error', (error) => failed(reason(error.message)));
    child.once('close', (code) => (code === 0 ? done() : failed(reason(`npm ended with ${code}`))));
  });
}
