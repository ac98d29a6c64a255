/**
 * Endpoint: where a server listens, and the check that nobody is there yet.
 *
 *   ':19890'          every address, IPv4 and IPv6        '[::1]:80'   one IPv6 address
 *   '0.0.0.0:80'      every IPv4 address                  'name:80'    the first address of the name
 */
import { createServer } from 'node:net';
import { errors } from '../kernel/errors.ts';
import { httpErrors } from './errors.ts';

export interface Endpoint {
  /** Empty: all addresses. */
  readonly host: string;
  readonly port: number;
}

/** Reads host:port; undefined when the text is something else. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]*)):(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const port = Number(match[3]);
  if (port < 1 || port > 65535) return undefined;
  return { host: match[1] ?? match[2] ?? '', port };
}

/** Whether a server with this address listens to this machine alone. */
export function isLoopback(address: string): boolean {
  const host = parseEndpoint(address)?.host.toLowerCase() ?? '';
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** What is wrong with an address; undefined: nothing. */
export function endpointProblem(text: string): string | undefined {
  return parseEndpoint(text) === undefined ? `must be host:port, :port or [v6]:port: found=${text}` : undefined;
}

export function formatEndpoint(endpoint: Endpoint): string {
  return `${endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`;
}

/**
 * Binds the address exclusively and lets it go. The acceptors share their port by SO_REUSEPORT; a second process of the
 * same user would share it too and silently take half of the traffic. This bind does without the option, so it fails
 * then. Throws PORT_IN_USE or CONFIG.
 */
export function probeEndpoint(endpoint: Endpoint): Promise<void> {
  const address = formatEndpoint(endpoint);
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'EADDRINUSE') {
        reject(httpErrors.PORT_IN_USE({ address }, cause));
        return;
      }
      const found = `${address} (${cause.code ?? cause.message})`;
      reject(
        errors.CONFIG({ problems: [`SERVER_ADDR must be an address that this host can listen on: found=${found}`] }),
      );
    });
    const done = () => server.close(() => resolve());
    if (endpoint.host === '') server.listen({ port: endpoint.port, exclusive: true }, done);
    else server.listen({ host: endpoint.host, port: endpoint.port, exclusive: true }, done);
  });
}
