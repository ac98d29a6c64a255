/** Visitor config: what is kept about who sends events. Defaults that are choices say why. */
import { isCookieName } from '../http/cookies.ts';
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
      must: 'a domain name',
      test: (value) => /^\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$/.test(value),
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
      doc: 'SameSite of the cookie. None lets pages of other sites bring it; browsers take that over TLS only.',
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
      unset: 'geo stays {}',
    }),
    uaParse: bool({
      default: false,
      doc: 'Add a `device` key (type, browser, os, bot) made from the user agent. off: no key, no cost.',
    }),
  },
  {
    check: ({ ipHashSecret, ipMode }) =>
      ipHashSecret !== undefined && ipMode !== 'hash'
        ? [`IP_HASH_SECRET must come with IP_MODE=hash: found=${ipMode}`]
        : [],
  },
);
export type VisitorConfig = ConfigOf<typeof visitorConfig>;
