/** How Redis is reached: options of its client, from those of the gateway. */

import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { RedisOptions } from 'ioredis';
import { parseEndpoint } from '../../http/endpoint.ts';
import type { GatewayConfig } from '../config.ts';

const CONNECT_MS_MAX = 1000;
const RETRY_MS_MAX = 1000;

/** Without a server name, which must be none of an address (RFC 6066), the certificate is checked for the host. */
const tlsOptions = (host: string, ca: string | undefined): ConnectionOptions => ({
  ...(isIP(host) === 0 ? { servername: host } : {}),
  ...(ca === undefined ? {} : { ca: readFileSync(ca) }),
});

/** Undefined: there is no Redis. A command fails at once while there is no connection, and is never sent twice. */
export function redisOptions(gateway: GatewayConfig): RedisOptions | undefined {
  const { redisAddr, redisUsername, redisPassword, redisDb, redisTls, redisTlsCa } = gateway;
  const at = redisAddr === undefined ? undefined : parseEndpoint(redisAddr);
  if (at === undefined) return undefined;
  return {
    host: at.host,
    port: at.port,
    db: redisDb,
    ...(redisUsername === undefined ? {} : { username: redisUsername }),
    ...(redisPassword === undefined ? {} : { password: redisPassword }),
    ...(redisTls || redisTlsCa !== undefined ? { tls: tlsOptions(at.host, redisTlsCa) } : {}),
    connectionName: 'ringmain-gateway',
    lazyConnect: true,
    connectTimeout: CONNECT_MS_MAX,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) => Math.min(RETRY_MS_MAX, 50 * 2 ** Math.min(times, 5)),
  };
}
