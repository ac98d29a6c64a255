/** What `ringmain doctor` sees in the options about visitors: databases that are old, cookies that do not come back. */
import { readFileSync } from 'node:fs';
import { type CityResponse, Reader } from 'maxmind';
import type { HttpConfig } from '../http/config.ts';
import { error, type Finding, note, ok, warning } from '../kernel/finding.ts';
import type { VisitorConfig } from './config.ts';

const DAY_MS = 86_400_000;
const GEO_DAYS_MAX = 90;

export function* examineVisitors(visitor: VisitorConfig, http: HttpConfig): Generator<Finding> {
  if (visitor.geoipDb !== undefined) yield geo(visitor.geoipDb);
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
  else if (http.corsOrigins.includes('*'))
    yield note(
      `the cookie ${name} (SameSite=${sameSite}) comes back only from pages of the same site; events of other sites have no sid`,
    );
  else yield ok(`the cookie ${name} (SameSite=${sameSite}) comes back from pages of the same site`);
  if (visitor.ipMode === 'hash' && visitor.ipHashSecret === undefined)
    yield note('IP_MODE=hash without IP_HASH_SECRET: two collectors hash the same address differently');
}

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
