/** Certificates for tests: an authority of our own, and what it signs for 127.0.0.1 and localhost. Made by openssl, gone with the test. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureCommand } from './apt.ts';
import { runProgram, type TestScope, temporaryFolder } from './process.ts';

export interface Authority {
  /** PEM, and the file that holds it. */
  readonly ca: string;
  readonly caFile: string;
  /** Signs a certificate for 127.0.0.1 and localhost. */
  issue(name: string): Promise<{
    readonly key: string;
    readonly certificate: string;
    readonly keyFile: string;
    readonly certificateFile: string;
  }>;
}

export async function authority(t: TestScope, name = 'Ringmain test authority'): Promise<Authority> {
  await ensureCommand('openssl', 'openssl');
  const { folder, remove } = temporaryFolder('ringmain-ca-');
  t.onTestFinished(remove);
  const path = (file: string) => join(folder, file);
  const openssl = (...args: string[]) => runProgram('openssl', args, { cwd: folder });
  const newKey = (file: string) =>
    openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', file);
  await newKey('ca.key');
  await openssl('req', '-x509', '-new', '-key', 'ca.key', '-days', '30', '-subj', `/CN=${name}`, '-out', 'ca.pem');
  return {
    ca: readFileSync(path('ca.pem'), 'utf8'),
    caFile: path('ca.pem'),
    issue: async (subject) => {
      const [keyFile, request, certificateFile, extensions] = ['key', 'csr', 'pem', 'ext'].map((end) =>
        path(`${subject}.${end}`),
      ) as [string, string, string, string];
      await newKey(keyFile);
      writeFileSync(extensions, 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
      await openssl('req', '-new', '-key', keyFile, '-subj', `/CN=${subject}`, '-out', request);
      await openssl(
        'x509',
        '-req',
        '-in',
        request,
        '-CA',
        'ca.pem',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-days',
        '30',
        '-extfile',
        extensions,
        '-out',
        certificateFile,
      );
      return {
        key: readFileSync(keyFile, 'utf8'),
        certificate: readFileSync(certificateFile, 'utf8'),
        keyFile,
        certificateFile,
      };
    },
  };
}
