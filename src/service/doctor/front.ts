/** What the doctor looks at where requests come in: ports, certificates, and who really connects. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { believesClients, trustsNobody } from '../../http/client-address.ts';
import { type HttpConfig, tlsFiles } from '../../http/config.ts';
import { type Endpoint, parseEndpoint, probeEndpoint } from '../../http/endpoint.ts';
import type { TlsFiles } from '../../http/listen.ts';
import { checkCertificates } from '../../http/renewal.ts';
import { environment, type Naming } from '../../kernel/config.ts';
import { RingmainError } from '../../kernel/errors.ts';
import { error, type Finding, note, ok, warning } from '../../kernel/finding.ts';
import type { Listening } from '../seat.ts';
import type { FrameValues } from '../values.ts';

const EXPIRY_DAYS_MIN = 14;
const DAY_MS = 86_400_000;
const PEERS_SHOWN = 5;

/** `named`: what the operator calls an option. */
export async function* examineFront(
  values: FrameValues,
  listening: readonly Listening[],
  named: Naming,
): AsyncGenerator<Finding> {
  const { http } = values;
  const peers = new Set<string>();
  const admin = http.adminAddr === '' ? [] : [{ address: http.adminAddr, option: 'ADMIN_ADDR' }];
  for (const { address, option } of [...listening, ...admin]) {
    const endpoint = parseEndpoint(address) as Endpoint;
    try {
      await probeEndpoint(endpoint);
      yield ok(`${address} is free`);
    } catch (cause) {
      if (!(cause instanceof RingmainError)) throw cause;
      yield cause.code === 'PORT_IN_USE'
        ? note(`${address} is in use, by a running Ringmain or by something else`)
        : error(cause.message, `Correct ${named(option)}.`);
      for (const peer of peersOf(endpoint.port)) peers.add(peer);
    }
  }
  const files = tlsFiles(http);
  if (files !== undefined) yield* certificateFindings(files, Date.now());
  const inPod = environment()['KUBERNETES_SERVICE_HOST'] !== undefined;
  yield* proxyFindings(http, [...peers], inPod);
}

export function* certificateFindings(files: TlsFiles, nowMs: number): Generator<Finding> {
  try {
    checkCertificates(files);
  } catch (cause) {
    yield error((cause as Error).message, 'Correct TLS_CERT and TLS_KEY.');
    return;
  }
  const { validTo, subjectAltName = '' } = new X509Certificate(readFileSync(files.cert));
  const days = Math.floor((Date.parse(validTo) - nowMs) / DAY_MS);
  const text = `the certificate for ${subjectAltName.replaceAll('DNS:', '')} is valid until ${validTo}`;
  if (days < 0) yield error(`${text}: it has expired`, 'Renew it; new files are loaded without a restart.');
  else if (days < EXPIRY_DAYS_MIN)
    yield warning(`${text}: ${days} days`, 'Renew it; new files are loaded without a restart.');
  else yield ok(text);
}

/** Whether the address of an event will be that of its visitor. `peers`: who is connected now. */
export function* proxyFindings(
  {
    trustProxy: trust,
    clientIpHeader,
    proxyProtocol,
  }: Pick<HttpConfig, 'trustProxy' | 'clientIpHeader' | 'proxyProtocol'>,
  peers: readonly string[],
  inPod: boolean,
): Generator<Finding> {
  const trusting = proxyProtocol || !trustsNobody(trust);
  const near = peers.filter((peer) => isPrivate(peer));
  if (peers.length > 0)
    yield note(`connected now: ${peers.slice(0, PEERS_SHOWN).join(', ')}${peers.length > PEERS_SHOWN ? ', ...' : ''}`);
  const advice = 'Set TRUST_PROXY to the networks of the proxies, or PROXY_PROTOCOL=true.';
  if (trusting) {
    yield ok(
      'the client address comes from ' +
        (proxyProtocol ? 'the PROXY header' : `the proxy's header (TRUST_PROXY=${trust})`),
    );
    if (believesClients({ trustProxy: trust, clientIpHeader }))
      yield warning(
        `TRUST_PROXY=${trust} trusts any address that a client writes into ${clientIpHeader}`,
        'Set TRUST_PROXY to the number of proxies in front, or to their networks.',
      );
    const far = peers.filter((peer) => !isPrivate(peer) && !isLoopback(peer));
    if (far.length > 0)
      yield warning(
        `some connections come directly from the internet: ${far.slice(0, 3).join(', ')}`,
        'Close the port to all but the proxies.',
      );
  } else if (near.length > 0)
    yield warning(
      `connections come from ${near.slice(0, 3).join(', ')}, which looks like a proxy; every event gets its address`,
      advice,
    );
  else if (inPod)
    yield warning('this is a pod, and TRUST_PROXY=false: behind an ingress every event gets its address', advice);
  else yield ok('the client address comes from the socket (TRUST_PROXY=false)');
}

/** Who is connected to a port now: remote addresses out of /proc/net/tcp and tcp6. */
function peersOf(port: number): readonly string[] {
  const found = new Set<string>();
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of textOf(file).split('\n')) {
      const match = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]+):[0-9A-F]{4} 01 /.exec(line);
      if (match !== null && Number.parseInt(match[1]!, 16) === port) found.add(addressOf(match[2]!));
    }
  }
  return [...found];
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** An address as /proc has it: 32-bit words of the host's byte order. An IPv4 address in IPv6 becomes IPv4. */
export function addressOf(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) =>
    word
      .match(/../g)!
      .toReversed()
      .map((byte) => Number.parseInt(byte, 16)),
  );
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255)
    return bytes.slice(12).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  return groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::');
}

const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1';
const isPrivate = (address: string): boolean =>
  /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|f[cd])/.test(address);
