/** A kept link is one session at a time, and a broken one is let go of before the next is opened. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { KeptLink } from '../../../src/store/postgres/kept-link.ts';

/** Sessions that break when told, and what was done with them, in order. */
function sessions() {
  const done: string[] = [];
  const opened: { broken: Error | undefined }[] = [];
  const open = async (): Promise<PostgresLink> => {
    const name = opened.length + 1;
    const session = { broken: undefined, close: async () => void done.push(`close ${name}`) };
    opened.push(session);
    done.push(`open ${name}`);
    return session as unknown as PostgresLink;
  };
  return { done, opened, open };
}

test('a session is opened when it is asked for, kept, and opened again when it has broken', async () => {
  const { done, opened, open } = sessions();
  const kept = new KeptLink(open);
  assert.equal(kept.broken, false);
  assert.equal(await kept.get(), await kept.get());
  assert.deepEqual(done, ['open 1']);
  opened[0]!.broken = new Error('cut');
  assert.equal(kept.broken, true);
  assert.equal(await kept.get(), opened[1]);
  assert.equal(kept.broken, false);
  await kept.close();
  await kept.close();
  assert.deepEqual(done, ['open 1', 'close 1', 'open 2', 'close 2']);
});

test('a session that cannot be opened is tried again with the next question', async () => {
  const { done, open } = sessions();
  let away = true;
  const kept = new KeptLink(() => (away ? Promise.reject(new Error('away')) : open()));
  await assert.rejects(kept.get(), /away/);
  away = false;
  await kept.get();
  assert.deepEqual(done, ['open 1']);
});
