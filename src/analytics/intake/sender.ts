/**
 * Sender: reads who sent a request, inside the handler. What outlives the request: country and region, what agents.ts
 * keeps of the user agent, and the visitor's id. Address and user agent themselves stay in the memory of the acceptor.
 *
 *   do not track   DNT: 1 or Sec-GPC: 1, by DNT_RESPECT and DNT_MODE; of an anonymous request only place and device
 *   address        by TRUST_PROXY; for the look-up of the place and the hash
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { randomBytes } from 'node:crypto';
import type { AddressReader } from '../../http/client-address.ts';
import { asked } from '../../http/wire-text.ts';
import type { OriginConfig } from '../../visitor/config.ts';
import type { Lookup } from '../../visitor/enrich.ts';
import { type Track, trackOf } from '../../visitor/visitor.ts';
import type { Agents } from './agents.ts';
import type { EventOrigin, OriginReader, SiteGrant } from './origin.ts';
import { isCode } from './region-names.ts';
import { SALT_BYTES } from './salts-board.ts';
import { findOnce, type VisitorIds } from './visitor-id.ts';

export interface SenderDeps {
  readonly options: Pick<OriginConfig, 'dntRespect' | 'dntMode'>;
  readonly address: AddressReader;
  readonly agents: Agents;
  readonly ids: VisitorIds;
  /** Undefined: no GEOIP_DB. */
  readonly geo: Lookup | undefined;
  /** Which sites the request may write; left out: all (ACCESS=open). */
  readonly grant?: (req: HttpRequest) => SiteGrant | undefined;
}

const NOTHING = Buffer.alloc(0);
const COMMA = Buffer.from(',');

/** An origin that can also answer for another user agent: of an event that a server reports for a browser. */
export interface SentOrigin extends EventOrigin {
  traitsBy(userAgent: string): Buffer;
  visitorBy(userAgent: string, siteId: string, day: number): string;
}

export class Sender implements OriginReader {
  readonly #deps: SenderDeps;
  readonly #places: Places;

  constructor(deps: SenderDeps) {
    this.#deps = deps;
    this.#places = new Places(deps.geo);
  }

  make(): Sent {
    return new Sent(this.#deps, this.#places);
  }

  track(req: HttpRequest): Track {
    return trackOf(this.#deps.options, req);
  }

  read(res: HttpResponse, req: HttpRequest, anonymous: boolean, nowMs: number, origin: EventOrigin): void {
    (origin as Sent).read(res, req, anonymous, nowMs);
  }
}

class Sent implements SentOrigin {
  receivedMs = 0;
  anonymous = false;
  traits: Buffer = NOTHING;
  grant: SiteGrant | undefined = undefined;
  readonly #deps: SenderDeps;
  readonly #places: Places;
  #address = '';
  #userAgent = '';
  #place: Buffer = NOTHING;
  /** For days whose salt is destroyed; undefined until it is needed. */
  #once: Uint8Array | undefined;

  constructor(deps: SenderDeps, places: Places) {
    this.#deps = deps;
    this.#places = places;
  }

  read(res: HttpResponse, req: HttpRequest, anonymous: boolean, nowMs: number): void {
    const { address, agents, geo, grant } = this.#deps;
    const userAgent = req.getHeader(asked.userAgent);
    const full = anonymous && geo === undefined ? '' : address(res, req);
    this.receivedMs = nowMs;
    this.anonymous = anonymous;
    this.grant = grant?.(req);
    this.#address = anonymous ? '' : full;
    this.#userAgent = anonymous ? '' : userAgent;
    this.#place = geo === undefined ? NOTHING : this.#places.of(full);
    this.#once = undefined;
    this.traits = join(this.#place, agents.traitsOf(userAgent));
  }

  visitorOf(siteId: string, day: number): string {
    return this.visitorBy(this.#userAgent, siteId, day);
  }

  traitsBy(userAgent: string): Buffer {
    return join(this.#place, this.#deps.agents.traitsOf(userAgent));
  }

  visitorBy(userAgent: string, siteId: string, day: number): string {
    const { ids } = this.#deps;
    const address = this.#address;
    // Without an address everybody would be one visitor.
    if (this.anonymous || address === '') return '';
    if (ids.isCurrent(day, this.receivedMs)) return ids.find(siteId, day, address, userAgent, this.receivedMs);
    this.#once ??= randomBytes(SALT_BYTES);
    return findOnce(this.#once, siteId, day, address, userAgent);
  }
}

const join = (one: Buffer, other: Buffer): Buffer => {
  if (one.length === 0) return other;
  return other.length === 0 ? one : Buffer.concat([one, COMMA, other]);
};

/** Country and region as members of the line, by the JSON that geo.ts keeps for an address. */
class Places {
  readonly #geo: Lookup | undefined;
  /** The keys are the buffers of geo.ts's own bounded cache: an entry goes when its key has gone there. */
  readonly #members = new WeakMap<Buffer, Buffer>();

  constructor(geo: Lookup | undefined) {
    this.#geo = geo;
  }

  of(address: string): Buffer {
    const found = this.#geo?.find(address);
    if (found === undefined) return NOTHING;
    let members = this.#members.get(found);
    if (members === undefined) {
      members = membersOf(found);
      this.#members.set(found, members);
    }
    return members;
  }
}

function membersOf(found: Buffer): Buffer {
  const { country, region } = JSON.parse(found.toString()) as { readonly country?: unknown; readonly region?: unknown };
  if (!isCode(country)) return NOTHING;
  // ISO 3166-2 with its country: BE alone is Berlin, and Bern.
  return Buffer.from(`"country":"${country}"${isCode(region) ? `,"region":"${country}-${region}"` : ''}`, 'latin1');
}
