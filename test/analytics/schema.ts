/** The schema of analytics: all of its migrations, as one text for a fresh database. */
import { readdirSync, readFileSync } from 'node:fs';

const folder = new URL('../../src/analytics/migrations/', import.meta.url);

export const schema: string = readdirSync(folder)
  .filter((name) => name.endsWith('.sql') && !name.endsWith('.down.sql'))
  .sort()
  .map((name) => readFileSync(new URL(name, folder), 'utf8'))
  .join('\n');
