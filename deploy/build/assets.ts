/**
 * The part of `npm run build` that the compiler leaves: copies what is no TypeScript of the services into dist/, their
 * migrations, and bundles the dashboard and the tracker. A file that has gone from src/ goes from dist/ as well.
 */
import { cpSync, globSync, rmSync } from 'node:fs';
import { buildTracker, buildWeb } from './web.ts';

for (const folder of globSync(['src/*/migrations', 'src/*/*/migrations'])) {
  const target = folder.replace(/^src/, 'dist');
  rmSync(target, { recursive: true, force: true });
  cpSync(folder, target, { recursive: true, filter: (path) => !path.endsWith('.ts') });
}
await buildWeb();
await buildTracker();
