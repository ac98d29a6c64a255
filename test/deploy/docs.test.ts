/** The documents keep to what they describe: links lead somewhere, the sizing table is computed, its bytes per event are a live collector's. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { journalBytes, sizingReadme, sizingTable } from '../../deploy/sizing.ts';
import { FORMAT } from '../../src/engine/segment.ts';
import { EVENT_KIND, EVENT_VERSION, TRACED_VERSION } from '../../src/events/record.ts';
import { partIsStale } from '../../src/kernel/markdown.ts';
import { kindOf } from '../../src/sms/topics.ts';
import { eventsIn, startCollector } from './collector.ts';
import { deployFolder } from './local-postgres.ts';

test('every link of the documents leads to a file, and to a heading of it', () => {
  for (const file of globSync('**/*.md', { cwd: deployFolder }).map((name) => join(deployFolder, name))) {
    for (const [, path = '', anchor] of readFileSync(file, 'utf8').matchAll(/\]\(([^)#\s]*)(?:#([^)]+))?\)/g)) {
      if (/^https?:/.test(path)) continue;
      const target = path === '' ? file : resolve(dirname(file), path);
      assert.ok(existsSync(target), `${file} links to what is not there: ${path}`);
      if (anchor === undefined) continue;
      const headings = readFileSync(target, 'utf8').match(/^#+ .*$/gm) ?? [];
      const anchors = headings.map((heading) =>
        heading
          .replace(/^#+ /, '')
          .toLowerCase()
          .replaceAll(/[^\w -]/g, '')
          .replaceAll(' ', '-'),
      );
      assert.ok(anchors.includes(anchor), `${file} links to a heading that is not there: ${path}#${anchor}`);
    }
  }
});

test('the sizing table is what its formula gives', () => {
  assert.equal(
    partIsStale(readFileSync(sizingReadme, 'utf8'), 'sizing', sizingTable()),
    false,
    'run node deploy/sizing.ts',
  );
});

test('the journal bytes of an event that the sizing table counts with are those of a live collector', async (t) => {
  const collector = await startCollector(t, { port: 21975 });
  const count = 200;
  for (let n = 0; n < count; n += 1)
    await (await fetch(`${collector.url}/px.gif?e=size&text=${'x'.repeat(300)}`)).arrayBuffer();
  await expect.poll(() => eventsIn(collector.folder).length === count, { message: 'all lines in the file' }).toBe(true);
  const lines = readFileSync(join(collector.folder, 'events.ndjson'), 'utf8').split('\n').slice(0, -1);
  const metrics = await (await fetch(`${collector.url}/metrics`)).text();
  const published = Number(/^ringmain_lane_bytes_total\{lane="0"\} (\d+)/m.exec(metrics)?.[1]);
  const computed = lines.reduce((sum, line) => sum + journalBytes(Buffer.byteLength(line)), 0);
  assert.ok(Math.abs(published / computed - 1) < 0.02, `published=${published}, computed=${computed}`);
});

test('UPGRADE.md names the formats that the code writes', () => {
  const text = readFileSync(join(deployFolder, 'UPGRADE.md'), 'utf8');
  const format = (what: string) => new RegExp(`^\\| ${what} \\| ([^|]+) \\|`, 'm').exec(text)?.[1];
  assert.equal(format('identity of the log'), String(FORMAT));
  assert.equal(format('segment and frame'), String(FORMAT));
  assert.match(
    format('record') ?? '',
    new RegExp(`^kind ${EVENT_KIND}, version ${EVENT_VERSION}; version ${TRACED_VERSION} `),
  );
  const kinds = Object.values(kindOf).sort();
  assert.match(format('record of the SMS gateway') ?? '', new RegExp(`^kinds ${kinds.at(0)} to ${kinds.at(-1)}, `));
});
