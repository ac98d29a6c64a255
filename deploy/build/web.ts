/**
 * The pages' share of `npm run build`: bundles src/analytics/web/, src/gateway/web/ and src/sms/web/ into dist/. Script
 * and style carry the hash of their content in their names, so that browsers keep them for a year; index.html, which
 * names them, is asked for each time. Text is packed here, with more patience than a start has.
 */

import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const SOURCE = 'src/analytics/web';

/** The dashboard at /, the page of administrators at /admin, and that of reports at / of their port. */
export async function buildWeb(): Promise<void> {
  await bundle(SOURCE, 'dist/analytics/web');
  await bundle('src/gateway/web', 'dist/gateway/web/admin');
  await bundle('src/sms/web', 'dist/sms/web');
}

async function bundle(source: string, target: string): Promise<void> {
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  const { metafile } = await build({
    entryPoints: { app: `${source}/main.ts` },
    outdir: target,
    entryNames: '[name]-[hash]',
    bundle: true,
    format: 'esm',
    target: ['chrome111', 'firefox114', 'safari16.4'],
    minify: true,
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  const names = Object.keys(metafile.outputs).map((path) => basename(path));
  const named = (extension: string): string => {
    const name = names.find((one) => one.endsWith(extension));
    if (name === undefined) throw new Error(`the bundle must hold a ${extension} file: found=${names.join(' ')}`);
    return name;
  };
  const page = readFileSync(`${source}/index.html`, 'utf8')
    .replace('app.css', named('.css'))
    .replace('main.ts', named('.js'))
    .replaceAll(/\n\s+/g, '\n');
  writeFileSync(join(target, 'index.html'), page);
  writeFileSync(join(target, 'icon.svg'), readFileSync('src/web/icon.svg'));
  for (const file of globSync(`${target}/*.{js,css}`)) {
    const bytes = readFileSync(file);
    writeFileSync(`${file}.gz`, gzipSync(bytes, { level: 9 }));
    const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
    writeFileSync(`${file}.br`, brotliCompressSync(bytes, { params }));
  }
}

/**
 * The tracker as a script for pages, and as a module with types for bundlers. Not in web/, which is served as it is.
 */
export async function buildTracker(): Promise<void> {
  const source = `${SOURCE}/tracker`;
  const target = 'dist/analytics/tracker';
  rmSync(target, { recursive: true, force: true });
  const common = {
    bundle: true,
    target: 'es2020',
    legalComments: 'none',
    logLevel: 'warning',
    tsconfigRaw: {},
  } as const;
  const script = { ringmain: `${source}/script.ts` };
  await build({ ...common, entryPoints: script, outdir: target, format: 'iife', minify: true });
  await build({ ...common, entryPoints: { module: `${source}/tracker.ts` }, outdir: target, format: 'esm' });
  copyFileSync(`${source}/module.d.ts`, `${target}/module.d.ts`);
}
