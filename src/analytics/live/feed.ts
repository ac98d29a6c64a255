/** Feed: where the worker `live` has its events from while somebody looks. */
import type { LiveHub } from './hub.ts';

export interface Feed {
  /** Before the hub has a site: from when on its events come. */
  begin(names: readonly string[]): number;
  /** The hub has the site: what was there before is read for it. Resolves when that is done, or takes too long. */
  recall(names: readonly string[]): Promise<void>;
  end(): Promise<void>;
}

export interface FeedOptions {
  readonly hub: LiveHub;
  readonly now: () => number;
  /** An event has been added. */
  readonly told: () => void;
}
