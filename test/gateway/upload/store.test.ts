/**
 * Goal: a file goes only while the lock of its digest is held. Method: files in a folder, and a session that is lost between
 * the file and the next answer.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, test } from 'vitest';
import { removeFile, removeUnowned, TEMPORARY } from '../../../src/gateway/upload/store.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { temporaryFolder } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';

const scope = fileScope();
const { folder, remove } = temporaryFolder('ringmain-store-');
scope.onTestFinished(remove);
const PATH = 'ab/file.jpg';
const file = join(folder, PATH);
const put = (text: string) => writeFileSync(file, text);
beforeEach(() => {
  mkdirSync(dirname(file), { recursive: true });
  put('a picture');
});
/** A session that does this when it is asked. */
const session = (query: () => Promise<unknown>) => ({ query }) as unknown as PostgresLink;
const aside = () => readdirSync(join(folder, TEMPORARY));

test('a file goes, and one that is gone is no matter', async () => {
  for (let i = 0; i < 2; i += 1)
    await removeFile(
      session(() => Promise.resolve()),
      folder,
      PATH,
    );
  assert.deepEqual([readdirSync(dirname(file)), aside()], [[], []]);
});

test('a session that was lost removes nothing, whoever has kept the same file meanwhile', async () => {
  const lost = session(() => Promise.reject(new Error('lost')));
  await assert.rejects(removeFile(lost, folder, PATH), /lost/);
  assert.deepEqual([readFileSync(file, 'utf8'), aside()], ['a picture', []]);
  const kept = session(() => {
    put('the same, kept by another one');
    return Promise.reject(new Error('lost'));
  });
  await assert.rejects(removeFile(kept, folder, PATH), /lost/);
  assert.deepEqual([readFileSync(file, 'utf8'), aside()], ['the same, kept by another one', []]);
});

test('a deletion is the same work, whether somebody else has the picture or not', async () => {
  const steps = async (others: boolean): Promise<readonly string[]> => {
    put('a picture');
    const done: string[] = [];
    const query = (text: string) => {
      const [verb = ''] = text.split(' ', 1);
      if (verb === 'SELECT') done.push(`${aside().length} aside`);
      // A statement that changes no row costs no commit.
      const changes = verb === 'UPDATE' || (verb === 'DELETE' && !others);
      if (changes) done.push('commit');
      return Promise.resolve({ rows: changes ? [{ path: PATH }] : [] });
    };
    await removeUnowned({ query } as unknown as PostgresLink, folder, 'ab');
    assert.deepEqual([readdirSync(dirname(file)).length, aside()], [others ? 1 : 0, []]);
    return done;
  };
  assert.deepEqual(await steps(true), ['commit', '1 aside']);
  assert.deepEqual(await steps(false), ['commit', '1 aside']);
});
