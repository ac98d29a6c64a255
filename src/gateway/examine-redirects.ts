/**
 * Whether a backend follows redirects. What ALLOWED_SOURCES names is judged before the path is signed, but a server
 * there, or whoever takes it over, can answer with a redirect to an address inside; imgproxy follows ten by default.
 * The doctor serves a redirect for a moment and looks whether the backend comes for what stands behind it.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, BlockList, connect, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Finding, note, ok, warning } from '../kernel/finding.ts';

const CONNECT_MS_MAX = 3000;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');
const inside = new BlockList();
for (const [net, bits] of [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const)
  inside.addSubnet(net, bits);
inside.addSubnet('fc00::', 7, 'ipv6');

const within = (list: BlockList, address: string): boolean =>
  list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

export interface Redirects {
  /** URL of the backend. */
  readonly url: string;
  /** Served as the picture behind the redirect. */
  readonly picture: Buffer;
  /** Asks the backend for a picture of this source; says how that went. */
  ask(source: string): Promise<string>;
}

/** For a backend that may fetch from servers. */
export async function* examineRedirects({ url, picture, ask }: Redirects): AsyncGenerator<Finding> {
  const address = await addressFor(url).catch(() => undefined);
  if (address === undefined) return;
  const [from, to] = [`/${randomUUID()}/from.png`, `/${randomUUID()}/to.png`];
  const asked = new Set<string | undefined>();
  const server = createServer((req, res) => {
    asked.add(req.url);
    if (req.url === from) res.writeHead(302, { Location: to, Connection: 'close' }).end();
    else if (req.url === to) res.writeHead(200, { 'Content-Type': 'image/png', Connection: 'close' }).end(picture);
    else res.writeHead(404, { Connection: 'close' }).end();
  });
  try {
    const source = `http://${isIP(address) === 6 ? `[${address}]` : address}:${await listen(server, address)}${from}`;
    const how = await ask(source);
    if (asked.has(to))
      yield warning(
        `backend ${url} follows redirects: a server that ALLOWED_SOURCES names can lead it to any address that it reaches`,
        'Set IMGPROXY_MAX_REDIRECTS=0 in imgproxy.',
      );
    else if (asked.has(from)) yield ok(`backend ${url} follows no redirects`);
    else
      yield note(
        `backend ${url} did not come for a redirect to ${address} (it ${how}), so it is not known whether it follows them; ` +
          'IMGPROXY_MAX_REDIRECTS=0 keeps it from that',
      );
    if (asked.has(from) && within(inside, address))
      yield note(
        `backend ${url} fetches from private addresses: a name in ALLOWED_SOURCES that comes to lead inside is fetched; ` +
          'where no source is inside, IMGPROXY_ALLOW_PRIVATE_SOURCE_ADDRESSES=false prevents it',
      );
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** The address of this machine that the backend can reach most likely; imgproxy takes none of the loopback by default. */
async function addressFor(url: string): Promise<string | undefined> {
  const { hostname, port, protocol } = new URL(url);
  const socket = connect({
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port) || (protocol === 'https:' ? 443 : 80),
    timeout: CONNECT_MS_MAX,
  });
  socket.once('timeout', () => socket.destroy(new Error('timeout')));
  try {
    await once(socket, 'connect');
    const { localAddress: own } = socket;
    if (own === undefined || !within(loopback, own)) return own;
    const others = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
    return others.find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? own;
  } finally {
    socket.destroy();
  }
}

async function listen(server: Server, address: string): Promise<number> {
  server.listen(0, address);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
