/** Passwords: what is kept, what is checked, what is refused, and that neither memory nor time depends on who asks. */
import { scryptSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { currentCost, needsRehash, Passwords, passwordProblem } from '../../src/access/password.ts';

const quick = { ln: 4, r: 8, p: 1 };

test('a digest is a PHC string that scrypt of node:crypto agrees with, salted anew each time', async () => {
  const passwords = new Passwords(quick);
  const kept = await passwords.hash('correct horse battery');
  const [, salt, digest] = /^\$scrypt\$ln=4,r=8,p=1\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$/.exec(kept) ?? [];
  const expected = scryptSync('correct horse battery', Buffer.from(salt!, 'base64'), 32, { N: 16, r: 8, p: 1 });
  expect(Buffer.from(digest!, 'base64').equals(expected)).toBe(true);
  expect(await passwords.hash('correct horse battery')).not.toBe(kept);
  expect(await passwords.matches('correct horse battery', kept)).toBe(true);
  expect(await passwords.matches('correct horse battery ', kept)).toBe(false);
  expect(await passwords.matches('correct horse battery', undefined)).toBe(false);
});

test('what is typed in one of two spellings is one password', async () => {
  const passwords = new Passwords(quick);
  expect(await passwords.matches('caf\u00E9 au lait', await passwords.hash('cafe\u0301 au lait'))).toBe(true);
});

test('a digest of other parameters is checked with them, and should be made anew', async () => {
  const kept = await new Passwords(quick).hash('correct horse battery');
  expect(await new Passwords({ ln: 5, r: 8, p: 1 }).matches('correct horse battery', kept)).toBe(true);
  expect(needsRehash(kept, quick)).toBe(false);
  for (const other of [currentCost, { ln: 5, r: 8, p: 1 }, { ln: 4, r: 9, p: 1 }, { ln: 4, r: 8, p: 2 }])
    expect(needsRehash(kept, other)).toBe(true);
});

test('the parameters of today are one of the minima of OWASP', () => {
  const minima = [17, 16, 15, 14, 13].map((ln, i) => ({ ln, r: 8, p: [1, 2, 3, 5, 10][i] }));
  expect(minima).toContainEqual(currentCost);
});

test('texts that are no digest, or one that would take the machine, match nothing', async () => {
  const passwords = new Passwords(quick);
  const tail = '$c2FsdHNhbHRzYWx0$ZGlnZXN0ZGlnZXN0ZGlnZXN0';
  for (const text of ['', 'x', '$scrypt$', `$argon2id$ln=4,r=8,p=1${tail}`, `$scrypt$ln=0,r=8,p=1${tail}`])
    expect(await passwords.matches('any', text), text).toBe(false);
  for (const cost of ['ln=25,r=8,p=1', 'ln=15,r=999,p=1', 'ln=4,r=8,p=99', 'ln=4,r=0,p=1'])
    expect(await passwords.matches('any', `$scrypt$${cost}${tail}`), cost).toBe(false);
});

test('for a name that nobody has as much is derived as for one that is known', async () => {
  const passwords = new Passwords({ ln: 13, r: 8, p: 1 });
  const kept = await passwords.hash('correct horse battery');
  // CPU time of all threads: what others do on this machine does not count.
  const took = async (phc: string | undefined): Promise<number> => {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 5; i += 1) {
      const begin = process.cpuUsage();
      await passwords.matches('another', phc);
      const { user, system } = process.cpuUsage(begin);
      least = Math.min(least, user + system);
    }
    return least;
  };
  const [known, unknown] = [await took(kept), await took(undefined)];
  // Without the derivation it would be a hundredth.
  expect(unknown).toBeGreaterThan(known / 3);
  expect(unknown).toBeLessThan(known * 3);
});

test('one is derived at a time, sixteen wait, and more are refused at once', async () => {
  const passwords = new Passwords({ ln: 12, r: 8, p: 1 });
  const asked = await Promise.allSettled(Array.from({ length: 20 }, () => passwords.hash('correct horse battery')));
  const refused = asked.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
  expect(refused.map(({ reason }) => (reason as { code: string }).code)).toEqual(Array(3).fill('LOGIN_BUSY'));
  expect(await passwords.hash('and later it goes on')).toMatch(/^\$scrypt/);
});

test('a new password has 12 to 256 characters', () => {
  expect(passwordProblem('12345678901')).toMatch(/12 to 256 characters: found=11/);
  expect(passwordProblem('👍'.repeat(12))).toBeUndefined();
  expect(passwordProblem('x'.repeat(257))).toBeDefined();
});
