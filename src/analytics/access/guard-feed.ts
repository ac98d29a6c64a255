/** Guard feed: keeps the site guard of an acceptor as the registry worker of its process has it (change-copy.ts). */
import { openFeed } from '../../service/change-copy.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { SiteGuard, type SiteGuardOptions } from './site-guard.ts';
import type { HeldSite, SitesQuestion } from './site-registry.ts';

export const REGISTRY_WORKER = 'registry';
export const SITES = 'sites';
/** What the registry worker is asked: `{ what: 'sites', ... }`. */
export interface SitesRequest extends SitesQuestion {
  readonly what: typeof SITES;
}

const EVERY_MS = 1000;

export interface GuardFeed {
  readonly guard: SiteGuard;
  close(): void;
}

type Frame = Pick<AcceptorFrame, 'ask' | 'rehearsing'>;

/** Resolves when the guard knows the sites, or after a few seconds without them; then everything is refused by 503. */
export async function openGuard({ ask, rehearsing }: Frame, options: SiteGuardOptions): Promise<GuardFeed> {
  const guard = new SiteGuard(rehearsing ? { ...options, access: 'open' } : options);
  if (rehearsing || options.access === 'open') return { guard, close: () => undefined };
  const feed = await openFeed<HeldSite>(
    { ask },
    {
      worker: REGISTRY_WORKER,
      ask: (question): SitesRequest => ({ what: SITES, ...question }),
      everyMs: EVERY_MS,
      copy: guard,
    },
  );
  return { guard, close: () => feed.close() };
}
