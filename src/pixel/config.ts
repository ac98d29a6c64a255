/**
 * Pixel config: what the collector promises, and what it keeps about a visitor. Defaults that are choices say why.
 */

import type { AckLevel } from '../engine/acknowledger.ts';
import { isCookieName } from '../http/cookies.ts';
import {
  bool,
  bytes,
  type ConfigOf,
  defineConfig,
  integer,
  KiB,
  MiB,
  oneOf,
  path,
  secret,
  text,
} from '../kernel/config.ts';

const levels = ['memory', 'journal', 'sync'] as const satisfies readonly AckLevel[];

export const pixelConfig = defineConfig(
  'pixel',
  {
    ack: oneOf(levels, {
      default: 'journal',
      doc: 'What a 2xx promises. memory: published in memory. journal: written, survives a crash of the process. sync: on the disk, survives a power cut.',
    }),
    ackPixel: oneOf(levels, { doc: 'The same for GET /px.gif alone.', unset: 'as ACK' }),
    ackCollect: oneOf(levels, { doc: 'The same for POST /collect alone.', unset: 'as ACK' }),
    maxEventBytes: bytes({
      default: 64 * KiB,
      min: 1 * KiB,
      max: 16 * MiB,
      doc: 'Longest finished JSON line of one event. A longer one is answered 413; it would never fit, so not 429.',
    }),
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
      doc: 'What obeying means. drop: answered as usual, not recorded. anonymize: recorded without ip, ua, uid, sid, and no cookie.',
    }),
    ipMode: oneOf(['full', 'truncate', 'hash', 'none'], {
      default: 'full',
      doc: 'What is kept of the client address. truncate: /24 or /48. hash: HMAC with a salt that changes every UTC day. none: no ip key.',
    }),
    ipHashSecret: secret({
      doc: 'Secret of at least 16 characters that the daily salts of IP_MODE=hash come from: the same on all hosts and after a restart.',
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
    check: (values, all) => {
      const problems: string[] = [];
      const memoryOnly = all['engine']?.['journalDir'] === 'off';
      for (const [name, level] of [
        ['ACK', values.ack],
        ['ACK_PIXEL', values.ackPixel],
        ['ACK_COLLECT', values.ackCollect],
      ] as const) {
        if (!memoryOnly || level === undefined || level === 'memory') continue;
        // A default that cannot hold is as much of a lie as an option.
        problems.push(`${name} must be memory when JOURNAL_DIR=off: found=${level}`);
      }
      const { ringBytes = Number.POSITIVE_INFINITY } = (all['engine'] ?? {}) as { ringBytes?: number };
      const { maxBodyBytes = 0 } = (all['http'] ?? {}) as { maxBodyBytes?: number };
      // One publish may take a quarter of the ring: a body must fit it, and so must the largest event beside others.
      const least = Math.max(4 * maxBodyBytes, 8 * values.maxEventBytes);
      if (ringBytes < least) {
        problems.push(
          `RING_BYTES must be at least 4 x MAX_BODY_BYTES and 8 x MAX_EVENT_BYTES: found=${ringBytes}, needed=${least}`,
        );
      }
      if (values.ipHashSecret !== undefined && values.ipMode !== 'hash') {
        problems.push(`IP_HASH_SECRET must come with IP_MODE=hash: found=${values.ipMode}`);
      }
      return problems;
    },
  },
);
export type PixelConfig = ConfigOf<typeof pixelConfig>;
