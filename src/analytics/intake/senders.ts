/** Senders: opens what an acceptor needs to say who sends events, for its routes of two kinds. */
import { addressReader } from '../../http/client-address.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { OriginConfig } from '../../visitor/config.ts';
import { noLookups, openLookups } from '../../visitor/lookups.ts';
import { visitorMetrics } from '../../visitor/metrics.ts';
import { Agents } from './agents.ts';
import { RegionNames } from './region-names.ts';
import { Sender, type SenderDeps } from './sender.ts';
import { VisitorIds } from './visitor-id.ts';
import { senderMetrics } from './visitor-metrics.ts';

export interface Senders {
  /** POST /events. */
  readonly events: Sender;
  /** What browsers load: /px.gif and /collect. */
  readonly pages: Sender;
  /**
   * Forgets ids whose salt is destroyed, also while no request comes, and has names of regions stored: for
   * Mounted.gauges().
   */
  look(): void;
  close(): void;
}

type SendersFrame = Pick<
  AcceptorFrame<{ readonly http: Parameters<typeof addressReader>[0]; readonly visitor: OriginConfig }>,
  'values' | 'log' | 'rehearsing' | 'meters' | 'now' | 'ask'
> & { readonly shared: { readonly salts: SharedArrayBuffer } };

/** Rejects with CONFIG when GEOIP_DB is no database, which is looked at every `geoCheckMs`. */
export async function openSenders(
  frame: SendersFrame,
  grant?: NonNullable<SenderDeps['grant']>,
  geoCheckMs?: number,
): Promise<Senders> {
  const { values, shared, log, rehearsing, meters, now, ask } = frame;
  const { http, visitor: options } = values;
  const cells = meters(visitorMetrics);
  const names = new RegionNames((question, timeoutMs) => ask('registry', question, timeoutMs, 'changes'));
  const lookups = rehearsing
    ? noLookups
    : await openLookups(
        { geoipDb: options.geoipDb, uaParse: false },
        cells,
        (error) =>
          log.warn({ error: String(error) }, 'the GeoIP database cannot be reloaded; the previous one stays in use'),
        geoCheckMs,
        (country, region, name) => names.learn(country, region, name),
      );
  const unshared = meters(senderMetrics).ringmain_unshared_visitor_ids_total.at();
  const ids = new VisitorIds(shared.salts, { unshared });
  const cache = {
    hits: cells.ringmain_cache_hits_total.at({ cache: 'device' }),
    misses: cells.ringmain_cache_misses_total.at({ cache: 'device' }),
  };
  const common = { options, address: addressReader(http), ids, geo: lookups.geo, ...(grant ? { grant } : {}) };
  return {
    events: new Sender({ ...common, agents: new Agents('events', cache) }),
    pages: new Sender({ ...common, agents: new Agents('pages', cache) }),
    look: () => {
      ids.look(now());
      names.look(now());
    },
    close: () => lookups.close(),
  };
}
