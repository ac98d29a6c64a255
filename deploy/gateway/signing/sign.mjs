// Signs a path, so that whoever has it may GET it from the gateway without a key.
//
//   export KEY_ID=9fK2mQx07TbA SIGNING_KEY=...      as `ringmain gateway key add` has shown them
//   node sign.mjs PATH [SECONDS]                    writes the signed path
import { createHmac } from 'node:crypto';
import process from 'node:process';

/** The path with its signature, good until `exp` (seconds since 1970). */
export function sign(path, exp, { keyId, signingKey }) {
  const sig = createHmac('sha256', signingKey).update(`GET\n${path}\n${keyId}\n${exp}`).digest('base64url');
  return `${path}${path.includes('?') ? '&' : '?'}kid=${keyId}&exp=${exp}&sig=${sig}`;
}

const [path, seconds = '3600'] = process.argv.slice(2);
const { KEY_ID: keyId, SIGNING_KEY: signingKey } = process.env;
process.stdout.write(`${sign(path, Math.floor(Date.now() / 1000) + Number(seconds), { keyId, signingKey })}\n`);
