/** Visitor config: what is kept about who sends events. Defaults that are choices say why. */
import { trustsNobody } from '../http/client-address.ts';
import { type HttpConfig, tlsFiles } from '../http/config.ts';
import { forbidsDomain, isCookieDomain, isCookieName, needsSecure } from '../http/cookies.ts';
import { bool, type ConfigOf, defineConfig, integer, oneOf, path, secret, text } from '../kernel/config.ts';

export const visitorConfig = defineConfig(
  'visitor',
  {
    cookies: bool({
      default: true,
      doc: 'Keep the visitor id (sid) in a cookie. off: no cookie is read or set, and no sid is made.',
    }),
    cookieName: text({ default: 'sid', must: 'the name of a cookie', test: isCookieName, doc: 'Name of the cookie.' }),
    cookieDomain: text({
      default: '',
      must: 'a domain that browsers take: names with dots between, no address and no top-level domain',
      test: isCookieDomain,
      doc: 'Domain of the cookie. Empty: the host that answers, and no other.',
    }),
    cookieMaxAgeDays: integer({
      default: 365,
      min: 1,
      max: 400,
      doc: 'Life of the cookie. Browsers cut it to 400 days.',
    }),
    cookieSamesite: oneOf(['Lax', 'Strict', 'None'], {
      default: 'Lax',
      doc:
        'SameSite of the cookie. Lax, Strict: only pages of the same site bring it, and only they get a sid. None ' +
        'lets pages of other sites bring it, where browsers still do that; it needs TLS, here or at a proxy that ' +
        'TRUST_PROXY believes.',
    }),
    cookiePartitioned: bool({
      default: false,
      doc:
        'Give each site whose pages send a cookie of its own (CHIPS): browsers that block cookies of other sites ' +
        'keep these. Needs COOKIE_SAMESITE=None.',
    }),
    dntRespect: bool({ default: true, doc: 'Obey DNT: 1 and Sec-GPC: 1.' }),
    dntMode: oneOf(['drop', 'anonymize'], {
      default: 'drop',
      doc:
        'What obeying means. drop: answered as usual, not recorded. anonymize: recorded without ip, ua, uid, sid, ' +
        'and no cookie.',
    }),
    ipMode: oneOf(['full', 'truncate', 'hash', 'none'], {
      default: 'full',
      doc:
        'What is kept of the client address. truncate: /24 or /48. hash: HMAC with a salt that changes every UTC ' +
        'day. none: no ip key.',
    }),
    ipHashSecret: secret({
      doc:
        'Secret of at least 16 characters that the daily salts of IP_MODE=hash come from: the same on all hosts and ' +
        'after a restart.',
      must: 'at least 16 characters',
      test: (value) => value.length >= 16,
      unset: 'a random salt, kept beside the journal until the day ends',
    }),
    geoipDb: path({
      doc: 'MaxMind database (.mmdb) for country, region and city. Read again when the file changes.',
      unset: 'no geo',
    }),
    uaParse: bool({
      default: false,
      doc: 'Add a `device` key (type, browser, os, bot) made from the user agent. off: no key, no cost.',
    }),
  },
  {
    check: (values, all) => [
      ...(values.ipHashSecret !== undefined && values.ipMode !== 'hash'
        ? [`IP_HASH_SECRET must come with IP_MODE=hash: found=${values.ipMode}`]
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
    problems.push(`COOKIE_DOMAIN must be empty when COOKIE_NAME begins with __Host-: found=${cookieDomain}`);
  if (cookiePartitioned && cookieSamesite !== 'None')
    problems.push(`COOKIE_PARTITIONED must come with COOKIE_SAMESITE=None: found=${cookieSamesite}`);
  const cookie = { name: cookieName, sameSite: cookieSamesite, partitioned: cookiePartitioned };
  if (!needsSecure(cookie) || http === undefined) return problems;
  // A proxy that speaks TLS to its clients says so, or hides it behind PROXY protocol.
  const tls = tlsFiles(http) !== undefined || !trustsNobody(http.trustProxy) || http.proxyProtocol;
  if (!tls) {
    const found = [`COOKIE_NAME=${cookieName}`, `COOKIE_SAMESITE=${cookieSamesite}`].join(', ');
    problems.push(
      'a cookie that browsers take over TLS only (SameSite=None, Partitioned, __Host-, __Secure-) must come with ' +
        `TLS_CERT and TLS_KEY, or with TRUST_PROXY for the proxy that ends TLS: found=${found}`,
    );
  }
  return problems;
}
