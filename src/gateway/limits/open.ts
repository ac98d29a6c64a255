/** Opens the limits of an acceptor. */
import type { AcceptorFrame } from '../../service/contract.ts';
import type { GatewayValues } from '../gateway.ts';
import type { GatewayShared } from '../shared.ts';
import type { Limiter } from './limiter.ts';
import { createLimits, LocalLimiter } from './local.ts';
import { limitMetrics } from './metrics.ts';
import { RedisLimiter } from './redis.ts';
import { redisOptions } from './redis-options.ts';
import { Windows } from './windows.ts';

export interface OpenedLimits {
  readonly limiter: Limiter;
  readonly windows: Windows;
}

/** Resolves when Redis, if there is one, has answered or cannot be reached. */
export async function openLimits(frame: AcceptorFrame<GatewayValues, GatewayShared>): Promise<OpenedLimits> {
  const { values, shared, rehearsing, log } = frame;
  const windows = new Windows(values.gateway);
  // A rehearsal counts against nobody.
  if (rehearsing) return { limiter: new LocalLimiter(createLimits(1)), windows };
  const local = new LocalLimiter(shared.limits);
  const options = redisOptions(values.gateway);
  if (options === undefined) return { limiter: local, windows };
  // A process without Redis does not load its client.
  const { Redis } = await import('ioredis');
  const { ringmain_gateway_redis_away: away, ringmain_gateway_limit_decisions_total: decisions } =
    frame.meters(limitMetrics);
  const place = values.gateway.redisAddr;
  const limiter = new RedisLimiter({
    redis: new Redis(options),
    local,
    prefix: values.gateway.redisPrefix,
    timeoutMs: values.gateway.redisTimeoutMs,
    awayShared: shared.limits.redisAway,
    away: away.at(),
    byRedis: decisions.at({ by: 'redis' }),
    known: decisions.at({ by: 'known' }),
    byProcess: decisions.at({ by: 'process' }),
    told(reason) {
      if (reason === undefined) log.info({ redis: place }, 'Redis answers again: limits hold over all gateways');
      else log.warn({ redis: place, reason }, 'Redis is away: each gateway limits by itself until it is back');
    },
  });
  await limiter.connect();
  return { limiter, windows };
}
