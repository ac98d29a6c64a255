/**
 * What `ringmain doctor` sees in the options about visitors: databases that are old, pages that may not send, cookies
 * that do not come back.
 */
import { readFileSync } from 'node:fs';
import { type CityResponse, Reader } from 'maxmind';
import type { HttpConfig } from '../http/config.ts';
import { Cors } from '../http/cors.ts';
import { error, type Finding, note, ok, warning } from '../kernel/finding.ts';
import type { OriginConfig, VisitorConfig } from './config.ts';

const DAY_MS = 86_400_000;
const GEO_DAYS_MAX = 90;

export function* examineVisitors(visitor: VisitorConfig, http: HttpConfig): Generator<Finding> {
  yield* examineOrigins(visitor, http);
  if (!visitor.cookies) {
    yield note('no cookies: only the sid that clients send tells visitors apart');
    return;
  }
  const { cookieName: name, cookieSamesite: sameSite } = visitor;
  if (sameSite === 'None' && visitor.cookiePartitioned)
    yield ok(`the cookie ${name} comes back from pages of other sites, each of which has its own (Partitioned)`);
  else if (sameSite === 'None')
    yield warning(
      `the cookie ${name} (SameSite=None) comes back from pages of other sites only in browsers that do not block it`,
      'Set COOKIE_PARTITIONED=true: each site then gets its own cookie, which browsers keep.',
    );
  else if (http.corsOrigins.includes('*') || sitesOf(http.corsOrigins).size > 1)
    yield note(
      `the cookie ${name} (SameSite=${sameSite}) comes back only from pages of the same site; ` +
        'events of other sites have no sid',
    );
  else yield ok(`the cookie ${name} (SameSite=${sameSite}) comes back from pages of the same site`);
  if (visitor.ipMode === 'hash' && visitor.ipHashSecret === undefined)
    yield note('IP_MODE=hash without IP_HASH_SECRET: two collectors hash the same address differently');
}

/** The same of a service that keeps neither address nor cookie. */
export function* examineOrigins({ geoipDb }: Pick<OriginConfig, 'geoipDb'>, http: HttpConfig): Generator<Finding> {
  if (geoipDb !== undefined) yield geo(geoipDb);
  yield* originFindings(http.corsOrigins);
}

/** Which pages may send, and whether the list forgets what browsers hold apart. */
function* originFindings(origins: readonly string[]): Generator<Finding> {
  if (origins.includes('*')) {
    yield ok('CORS_ORIGINS=*: every page may send events, with credentials; no other route gives credentials away');
    return;
  }
  yield ok(`CORS_ORIGINS: pages of ${origins.join(', ')} may send events, with credentials; all others get 403`);
  const cors = new Cors(origins, { intake: true });
  const foreign = origins
    .filter((origin) => /^http:/i.test(origin) && !/^http:\/\/(\*\.)?(localhost|127\.|\[::1\])/i.test(origin))
    // Another port is another server: only what stands on the scheme's own port moves to https as it is.
    .filter((origin) => !/:\d+$/.test(origin))
    .map((origin) => origin.replace(/^http:/i, 'https:'))
    .filter((origin) => cors.judge(origin.replace('*', 'x').toLowerCase()) === 'foreign');
  if (foreign.length > 0)
    yield warning(
      `CORS_ORIGINS has http origins only: pages of ${foreign.join(', ')} get 403`,
      'Browsers hold http and https apart: list the https origins as well.',
    );
  if (origins.includes('null'))
    yield note('CORS_ORIGINS includes null: any page can send as null, from a sandboxed frame');
}

/** By the last two names of a host. Too few sites are found below suffixes like co.uk, which costs a note. */
const sitesOf = (origins: readonly string[]): ReadonlySet<string> =>
  new Set(
    origins
      .filter((origin) => origin.includes('://'))
      .map((origin) => new URL(origin.replace('*', 'x')).hostname.split('.').slice(-2).join('.')),
  );

function geo(file: string): Finding {
  try {
    const { metadata } = new Reader<CityResponse>(readFileSync(file));
    const days = Math.floor((Date.now() - metadata.buildEpoch.getTime()) / DAY_MS);
    return days <= GEO_DAYS_MAX
      ? ok(`${metadata.databaseType} in GEOIP_DB is ${days} days old`)
      : warning(
          `${metadata.databaseType} in GEOIP_DB is ${days} days old`,
          'Update it; the file is reloaded automatically.',
        );
  } catch (cause) {
    return error(
      `GEOIP_DB must be a MaxMind database: found=${file} (${(cause as Error).message})`,
      'Correct GEOIP_DB.',
    );
  }
}
