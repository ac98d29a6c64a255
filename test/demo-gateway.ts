/**
 * `npm run demo:gateway`: the gateway on :8080 with a Postgres of its own, two stand-ins for imgproxy, one user and one
 * key. It prints three lines to paste: upload a picture, see it resized, run into the limit. Everything lies in a
 * temporary folder and goes with it on Ctrl-C.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addKey } from '../src/gateway/database/admin/keys.ts';
import { setLimits } from '../src/gateway/database/admin/limits.ts';
import { addUser } from '../src/gateway/database/admin/users.ts';
import { pathOf } from '../src/gateway/upload/store.ts';
import { openLink } from '../src/store/postgres/connection.ts';
import { noisePicture, startImgproxy } from './servers/imgproxy.ts';
import { startPostgres } from './servers/postgres.ts';
import { ServerProcess, temporaryFolder } from './servers/process.ts';

const PORT = Number(process.env['DEMO_PORT'] ?? 8080);
const URL_ = `http://127.0.0.1:${PORT}`;
/** Of Postgres; the stand-ins have the next two. */
const BASE = Number(process.env['DEMO_SERVERS'] ?? 24_780);
const READY_MS = 60_000;
/** So few at once that a loop of the shell runs into it. */
const BURST = 10;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const secret = (): string => randomBytes(32).toString('hex');

const { folder, remove } = temporaryFolder('demo-gateway');
const end = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // The harness would end the process at once, with the servers still running.
    process.removeAllListeners(signal);
    process.once(signal, () => resolve());
  }
});
const undo: (() => unknown)[] = [remove];
const scope = { onTestFinished: (fn: () => unknown) => void undo.push(fn) };

say('starting Postgres and two stand-ins for imgproxy ...');
const uploads = join(folder, 'uploads');
mkdirSync(uploads);
const [key, salt, pepper] = [secret(), secret(), secret()];
const [postgres, ...backends] = await Promise.all([
  startPostgres(scope, { port: BASE, own: true }),
  startImgproxy(scope, { port: BASE + 1, root: uploads, key, salt }),
  startImgproxy(scope, { port: BASE + 2, root: uploads, key, salt }),
]);

say('starting Ringmain ...');
const ringmain = new ServerProcess(
  process.execPath,
  ['dist/main.js', 'gateway'],
  {
    env: {
      ...process.env,
      SERVER_ADDR: `127.0.0.1:${PORT}`,
      DB_DSN: postgres.dsn,
      KEY_PEPPER: pepper,
      IMGPROXY_KEY: key,
      IMGPROXY_SALT: salt,
      BACKENDS: JSON.stringify(backends.map(({ url }, i) => ({ url, weight: [70, 30][i] }))),
      UPLOAD_DIR: uploads,
      CACHE_DIR: join(folder, 'cache'),
      JOURNAL_DIR: join(folder, 'journal'),
      LOG_LEVEL: 'warn',
    },
  },
  folder,
);
undo.push(() => ringmain.end('SIGTERM'));
await ringmain.until(async () => (await fetch(`${URL_}/readyz`).catch(() => undefined))?.ok ?? false, READY_MS);

const link = await openLink(postgres.dsn);
const actor = { name: 'demo' };
const user = await addUser(link, actor, { username: 'ada', email: 'ada@example.com' });
await setLimits(link, actor, user.id, { requests_per_minute: 60, requests_per_hour: null, burst: BURST });
const made = await addKey(link, actor, pepper, user.id, { name: 'demo' });
await link.close();

const picture = join(folder, 'picture.jpg');
const bytes = await noisePicture(1200, 800);
writeFileSync(picture, bytes);
const small = join(folder, 'small.webp');
const asKey = `-H 'X-API-Key: ${made.key}'`;
const upload = `curl -s ${asKey} -H 'Content-Type: image/jpeg' --data-binary @${picture} ${URL_}/api/v1/upload`;

// The gateway follows a new key in a moment. What is asked takes nothing from the limit.
await ringmain.until(async () => {
  const answer = await fetch(`${URL_}/api/v1/usage?user_id=${user.id}`, { headers: { 'x-api-key': made.key } });
  if (answer.ok || answer.status === 401) return answer.ok;
  throw new Error(`the gateway must know the key: found=${await answer.text()}`);
}, READY_MS);

// An upload is named by its digest: the second line is known before the first one is pasted.
const source = pathOf(createHash('sha256').update(bytes).digest('hex'), 'jpeg');
const resized = `${URL_}/rs:fit:300:200/plain/local:///${source}@webp`;
say(`\nOne user, one key: ${made.key}\n`);
say('Upload a picture:');
say(`  ${upload}`);
say('See it resized:');
say(
  `  curl -s -o ${small} -w '%{http_code} %{size_download} bytes\\n' ${asKey} '${resized}' && ls -l ${picture} ${small}`,
);
say(`Run into the limit (60 a minute, ${BURST} at once):`);
say(`  for i in $(seq 1 20); do curl -s -o /dev/null -w '%{http_code} ' ${asKey} '${resized}'; done; echo`);
say('Ctrl-C ends it.');

await end;
for (const fn of undo.reverse()) await fn();
say('ended');
process.exit(0);
