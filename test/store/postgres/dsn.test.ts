import assert from 'node:assert/strict';
import { test } from 'vitest';
import { type Dsn, parseDsn } from '../../../src/store/postgres/dsn.ts';

const nothing = {
  hosts: [{ host: 'localhost', port: 5432 }],
  user: undefined,
  password: undefined,
  database: undefined,
  sslMode: 'prefer',
  sslRootCert: undefined,
  sslCert: undefined,
  sslKey: undefined,
  session: 'any',
  applicationName: undefined,
  connectTimeoutMs: undefined,
  options: undefined,
} satisfies Dsn;

test('a DSN is read as libpq reads it', () => {
  const cases: [text: string, expected: Partial<Dsn>][] = [
    ['postgres://', {}],
    ['postgresql://db', { hosts: [{ host: 'db', port: 5432 }] }],
    ['postgres://me@db/events', { hosts: [{ host: 'db', port: 5432 }], user: 'me', database: 'events' }],
    [
      'postgres://m%40e:p%3A%2F%40:x@[::1]:6000/a%20b',
      { hosts: [{ host: '::1', port: 6000 }], user: 'm@e', password: 'p:/@:x', database: 'a b' },
    ],
    [
      'postgres://u:p@a:1,b,c:3/db?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3',
      {
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 5432 },
          { host: 'c', port: 3 },
        ],
        user: 'u',
        password: 'p',
        database: 'db',
        sslMode: 'verify-full',
        sslRootCert: '/ca.pem',
        connectTimeoutMs: 3000,
        session: 'read-write',
      },
    ],
    [
      'postgres://a,b/?target_session_attrs=any',
      {
        hosts: [
          { host: 'a', port: 5432 },
          { host: 'b', port: 5432 },
        ],
      },
    ],
    [
      'postgres:///db?host=/run/postgresql&port=6543',
      { hosts: [{ host: '/run/postgresql', port: 6543 }], database: 'db' },
    ],
    ['postgres://%2Frun%2Fpg/db', { hosts: [{ host: '/run/pg', port: 5432 }], database: 'db' }],
    [
      String.raw`host=a,b port=6543 dbname=db user='it''s' password='a b\'c\\' sslmode = require`,
      {
        hosts: [
          { host: 'a', port: 6543 },
          { host: 'b', port: 6543 },
        ],
        database: 'db',
        user: "it's",
        password: String.raw`a b'c\ `.trim(),
        sslMode: 'require',
        session: 'read-write',
      },
    ],
    [
      "host=db application_name=x options='-c geqo=off' ",
      { hosts: [{ host: 'db', port: 5432 }], applicationName: 'x', options: '-c geqo=off' },
    ],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parseDsn(text), { ...nothing, ...expected }, text);
});

test('a DSN that is wrong is refused with what must hold, and its password is not shown', () => {
  const cases: [text: string, message: RegExp][] = [
    ['db.example.com', /must be a postgres:\/\/ URL or pairs/],
    ['postgres://u:s3cret@a:1:2/db', /host must read/],
    ['postgres://u:s3cret@a:99999/db', /port must be from 1 to 65535/],
    ['postgres://u:s3cret@a/db?sslmod=require', /must be one of .*sslmode.*found=sslmod$/],
    ['postgres://u:s3cret@a/db?sslmode=on', /sslmode must be one of .*: found=on/],
    [
      'postgres://u:s3cret@a,b/db?target_session_attrs=standby',
      /target_session_attrs must be one of any, read-write, primary: found=standby/,
    ],
    ['postgres://u:s3cret@a/db?sslmode', /must read name=value/],
    ['postgres://u:s3cret%zz@a/db', /% only as part of %XX/],
    ['host=a,b,c port=1,2', /hosts=3, ports=2/],
    ["host=a password='s3cret", /must be a postgres/],
    ['host=a connect_timeout=soon', /connect_timeout must be a number/],
  ];
  for (const [text, message] of cases) {
    assert.throws(
      () => parseDsn(text),
      (error) => {
        assert.match((error as Error).message, message, text);
        assert.doesNotMatch((error as Error).message, /s3cret/, text);
        return true;
      },
      text,
    );
  }
});
