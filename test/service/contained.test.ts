/** Goal: `ringmain --healthcheck` of a container asks the service that the container runs, where its flags let it listen. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { containedCommand } from '../../src/service/contained.ts';
import { temporaryFolder } from '../servers/process.ts';

const services = ['pixel', 'analytics'];

/** The first process has these words. */
function contained(...words: readonly string[]): readonly string[] | undefined {
  const { folder, remove } = temporaryFolder('ringmain-contained-');
  const file = join(folder, 'cmdline');
  writeFileSync(file, words.map((word) => `${word}\0`).join(''));
  try {
    return containedCommand(services, file);
  } finally {
    remove();
  }
}

test.each([
  ['the image starts it', ['node', '/usr/local/bin/ringmain', 'analytics', 'api'], ['analytics', 'api']],
  [
    'its flags come along',
    ['node', '/usr/local/bin/ringmain', 'analytics', '--server-addr=:9000'],
    ['analytics', '--server-addr=:9000'],
  ],
  [
    'docker run --init puts another program first',
    ['/sbin/docker-init', '--', 'ringmain', 'analytics', 'processor'],
    ['analytics', 'processor'],
  ],
  ['node runs the file', ['/usr/bin/node', '/opt/ringmain/dist/main.js', 'pixel'], ['pixel']],
  ['a host', ['/usr/lib/systemd/systemd', '--system'], undefined],
  ['a tool', ['node', '/usr/local/bin/ringmain', 'journal', 'cat'], undefined],
  ['a word that is an argument of something else', ['sh', '-c', 'sleep 5', 'analytics'], undefined],
])('%s', (_, words, expected) => {
  expect(contained(...words)).toEqual(expected);
});

test('without /proc it runs none', () => {
  expect(containedCommand(services, '/nonexistent')).toBeUndefined();
});
