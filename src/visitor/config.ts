/** Visitor config: what is kept about who sends events. Defaults that are choices say why. */
import { trustsNobody } from '../http/client-address.ts';
import { type HttpConfig, tlsFiles } from '../http/config.ts';
import { forbidsDomain, isCookieDomain, isCookieName, needsSecure } from '../http/cookies.ts';
import { bool, type ConfigOf, defineConfig, integer, oneOf, path, secret, text } from '../kernel/config.ts';

/** How headers that forbid tracking are honored. `anonymize`: what that mode does, for the reference. */
const dntOptions = (anonymize: string) => ({
  dntRespect: bool({ default: true, doc: 'Honor DNT: 1 and Sec-GPC: 1.' }),
  dntMode: oneOf(['drop', 'anonymize'], {
    default: 'drop',
    doc: `How DNT and Sec-GPC are honored. drop: answered as usual, not recorded. anonymize: ${anonymize}`,
  }),
});

const geoOptions = (kept: string) => ({
  geoipDb: path({
    doc: `MaxMind database (.mmdb) for ${kept}. Reloaded when the file changes.`,
    unset: 'no geo',
  }),
});

/**
 * The options of a service that keeps neither address nor cookie (analytics). Its values have the same room and names
 * as those of visitorConfig.
 */
export const originConfig = defineConfig('visitor', {
  ...dntOptions('recorded without user_id and visitor.'),
  ...geoOptions('country and region'),
});
export type OriginConfig = ConfigOf<typeof originConfig>;

export const visitorConfig = defineConfig(
  'visitor',
  {
    cookies: bool({
      default: true,
      doc: 'Keep the visitor ID (sid) in a cookie. off: no cookie is read or set, and no sid is generated.',
    }),
    cookieName: text({ default: 'sid', must: 'a cookie name', test: isCookieName, doc: 'Cookie name.' }),
    cookieDomain: text({
      default: '',
      must: 'a domain that browsers accept: dot-separated names, not an IP address or a top-level domain',
      test: isCookieDomain,
      doc: 'Cookie domain. Empty: only the host that answers.',
    }),
    cookieMaxAgeDays: integer({
      default: 365,
      min: 1,
      max: 400,
      doc: 'Cookie lifetime. Browsers cap it at 400 days.',
    }),
    cookieSamesite: oneOf(['Lax', 'Strict', 'None'], {
      default: 'Lax',
      doc:
        'SameSite attribute. Lax, Strict: only pages of the same site send the cookie, and only they get a sid. ' +
        'None: pages of other sites send it as well, where browsers still allow that; requires TLS, here or at a ' +
        'proxy that TRUST_PROXY trusts.',
    }),
    cookiePartitioned: bool({
      default: false,
      doc:
        'Give each site whose pages send events a cookie of its own (CHIPS), which browsers that block ' +
        'third-party cookies keep. Requires COOKIE_SAMESITE=None.',
    }),
    ...dntOptions('recorded without ip, ua, uid and sid, and without a cookie.'),
    ipMode: oneOf(['full', 'truncate', 'hash', 'none'], {
      default: 'full',
      doc:
        'How much of the client address is kept. truncate: the /24 or /48. hash: HMAC with a salt that changes ' +
        'every UTC day. none: no ip key.',
    }),
    ipHashSecret: secret({
      doc:
        'Secret of at least 16 characters from which the daily salts of IP_MODE=hash are derived, so that they ' +
        'are the same on all hosts and after a restart.',
      must: 'at least 16 characters',
      test: (value) => value.length >= 16,
      unset: 'a random salt, kept next to the journal until the day ends',
    }),
    ...geoOptions('country, region and city'),
    uaParse: bool({
      default: false,
      doc: 'Add a `device` key (type, browser, os, bot) derived from the user agent. off: no key, no cost.',
    }),
  },
  {
    check: (values, all) => [
      ...(values.ipHashSecret !== undefined && values.ipMode !== 'hash'
        ? [`IP_HASH_SECRET requires IP_MODE=hash: found=${values.ipMode}`]
        : []),
      ...(values.cookies ? cookieProblems(values, all['http'] as HttpConfig | undefined) : []),
    ],
  },
);
export type VisitorConfig = ConfigOf<typeof visitorConfig>;

interface CookieValues {
  readonly cookieName: string;
  readonly cookieDomain: string;
  readonly cookieSamesite: 'Lax' | 'Strict' | 'None';
  readonly cookiePartitioned: boolean;
}

/** Cookies that every browser drops without a word: each view would be a new visitor. `http`: when it is sound. */
function cookieProblems(
  { cookieName, cookieDomain, cookieSamesite, cookiePartitioned }: CookieValues,
  http: HttpConfig | undefined,
): readonly string[] {
  const problems: string[] = [];
  if (cookieDomain !== '' && forbidsDomain(cookieName))
    problems.push(`COOKIE_DOMAIN must be empty when COOKIE_NAME starts with __Host-: found=${cookieDomain}`);
  if (cookiePartitioned && cookieSamesite !== 'None')
    problems.push(`COOKIE_PARTITIONED requires COOKIE_SAMESITE=None: found=${cookieSamesite}`);
  const cookie = { name: cookieName, sameSite: cookieSamesite, partitioned: cookiePartitioned };
  if (!needsSecure(cookie) || http === undefined) return problems;
  // A proxy that speaks TLS to its clients says so, or hides it behind PROXY protocol.
  const tls = tlsFiles(http) !== undefined || !trustsNobody(http.trustProxy) || http.proxyProtocol;
  if (!tls) {
    const found = [`COOKIE_NAME=${cookieName}`, `COOKIE_SAMESITE=${cookieSamesite}`].join(', ');
    problems.push(
      'a cookie that browsers accept over TLS only (SameSite=None, Partitioned, __Host-, __Secure-) requires ' +
        `TLS_CERT and TLS_KEY, or TRUST_PROXY for the proxy that terminates TLS: found=${found}`,
    );
  }
  return problems;
}
