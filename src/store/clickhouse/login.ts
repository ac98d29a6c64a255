/** Login: the parts of a URL of ClickHouse. */
import { placeOf } from '../../kernel/place.ts';

export interface ClickHousePlace {
  /** http or https URL: login before the host, database as its path. */
  readonly url: string;
  /** PEM file of the CA to trust instead of those of Node.js. */
  readonly ca: string | undefined;
  readonly connections?: number;
}

export interface Login {
  readonly origin: string;
  readonly database: string;
  /** Value of the Authorization header; undefined: the URL has no login. */
  readonly authorization: string | undefined;
  /** host:port. */
  readonly place: string;
}

/** The parts of a URL of ClickHouse. The database `default` is that of the server. */
export function loginOf(url: string): Login {
  const { origin, pathname, username, password, protocol, hostname, port } = new URL(url);
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return {
    origin,
    database: decodeURIComponent(pathname.replaceAll('/', '')) || 'default',
    authorization: username === '' ? undefined : `Basic ${Buffer.from(login).toString('base64')}`,
    place: placeOf({ host: hostname, port: Number(port || (protocol === 'https:' ? 443 : 80)) }),
  };
}
