/** Access: its options. */
import { type ConfigOf, defineConfig, secret } from '../kernel/config.ts';

/** A pepper of random letters and digits then has well over 128 bits. */
const PEPPER_LENGTH_MIN = 32;

export const accessConfig = defineConfig('access', {
  keyPepper: secret({
    doc:
      'Secret that digests of API keys are made with (HMAC-SHA-256); the same in every process and tool of an ' +
      'installation, and never in its database. Make one with `openssl rand -hex 32`. Keys that were made under ' +
      'another pepper are refused.',
    unset: 'no key can be made; where keys exist already, none of them is accepted',
    must: `a string of at least ${PEPPER_LENGTH_MIN} characters`,
    test: (text) => text.length >= PEPPER_LENGTH_MIN,
  }),
});
export type AccessConfig = ConfigOf<typeof accessConfig>;
