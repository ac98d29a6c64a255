/** App: what every part of the page may ask and change. main.ts makes the one there is. */
import type { Me, Paths, Site } from '../api/contract.ts';
import type { View } from './state.ts';

export interface App {
  readonly view: View;
  readonly me: Me | null;
  readonly sites: readonly Site[];
  readonly paths: Paths;
  /** Shows another view. `replace`: without a step of its own in the history (a tab, a page of a list). */
  go(next: View, how?: 'push' | 'replace'): void;
  /** Asks for the sites again: after a login, or when a site got its first event. */
  reload(): Promise<void>;
}

/** A page, or a part of one. */
export interface Part {
  readonly element: HTMLElement;
  /** `again`: asks for what is known already, because time has passed. */
  update(view: View, again?: boolean): void;
  /** The page is left: streams, timers and questions end. */
  leave?(): void;
}

export const siteUrl = (site: string, rest: string): string => `/api/sites/${encodeURIComponent(site)}/${rest}`;
