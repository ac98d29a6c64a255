/** The examples of deploy/gateway/signing: what they sign, the gateway's own verifier takes. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { Identifier } from '../../src/gateway/keys/identify.ts';
import { signingKeyOf, signTarget } from '../../src/gateway/keys/signing.ts';
import { PEPPER } from '../gateway/database.ts';
import { Known, key } from '../gateway/keys/known.ts';

const run = promisify(execFile);
const folder = join(import.meta.dirname, '..', '..', 'deploy', 'gateway', 'signing');
const identifier = new Identifier({ registry: new Known(), pepper: PEPPER, signedMsMax: 3_600_000, now: Date.now });

const examples: readonly (readonly [string, ...string[]])[] = [
  ['sh', 'sign.sh'],
  ['node', 'sign.mjs'],
  ['python3', 'sign.py'],
  ['go', 'run', 'sign.go'],
];

const installed = async (program: string): Promise<boolean> => {
  try {
    await run('sh', ['-c', `command -v ${program}`]);
    return true;
  } catch {
    return false;
  }
};

for (const [program, ...words] of examples) {
  test(`${words.at(-1)} signs paths as the gateway does`, async (t) => {
    if (!(await installed(program))) t.skip(`${program} is not installed`);
    const targets = ['/rs:fit:300:200/plain/local:///ab/cd.jpg@webp', '/a%20b?x=1&y=%2F'];
    for (const target of program === 'go' ? targets.slice(1) : targets) {
      const signingKey = signingKeyOf(PEPPER, key.id, 1);
      const env = { ...process.env, KEY_ID: key.id, SIGNING_KEY: signingKey };
      const { stdout } = await run(program, [...words, target, '600'], { cwd: folder, env });
      const url = stdout.trim();
      const exp = Number(/exp=(\d+)/.exec(url)?.[1]);
      expect(Math.abs(exp - Date.now() / 1000 - 600)).toBeLessThan(30);
      expect(url).toBe(signTarget(signingKey, key.id, target, exp));
      const at = url.indexOf('?');
      const [path, query] = [url.slice(0, at), url.slice(at + 1)];
      const shown = { method: 'GET', path, query, signable: true, apiKey: '', authorization: '' };
      expect(identifier.identify(shown)).toMatchObject({ signed: true, user: { id: 1 } });
    }
  });
}
