/** POST /collect. */
import assert from 'node:assert/strict';
import type { Cases } from './contract.ts';

export function collectCases(cases: Cases): void {
  cases.add('one event object is answered 202 with its count', async (client) => {
    const answer = await client.post({ e: 'signup', uid: 'u1' });
    assert.equal(answer.status, 202);
    assert.equal(answer.text(), '{"accepted":1,"status":"ok"}');
    assert.equal(answer.headers['content-type'], 'application/json');
    assert.equal(answer.headers['x-gotrack-accepted'], '1');
    assert.match(answer.headers['ringmain-ack']!, /^(memory|journal|sync)$/);
    assert.equal((await client.one())['e'], 'signup');
  });
}
