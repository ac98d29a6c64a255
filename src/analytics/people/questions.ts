/** Questions: what routes ask the worker `people`, as plain data, and what it answers. */
import type { Me, NewShare } from '../api/contract.ts';

export const PEOPLE_WORKER = 'people';
/** Names of the routes (routes.ts). */
export const peopleRouteNames = ['login', 'logout', 'me', 'shares', 'unlock'] as const;

/** Who is it? Each '' for what the request does not have. */
export interface LookQuestion {
  readonly what: 'look';
  /** Token of a session. */
  readonly session: string;
  /** Token of a share link, and its cookie. */
  readonly share: string;
  readonly unlocked: string;
}

export interface Looked {
  /** There is a user: what is open to everybody as long as nobody is registered, is not. */
  readonly anybody: boolean;
  readonly me: Me | null;
  /** null: none was shown, or one that is not valid. */
  readonly share: LookedShare | null;
}

export interface LookedShare {
  /** Number of its site. */
  readonly site: number;
  /** All that lead to its site; its own first. */
  readonly names: readonly string[];
  /** Its password has to be given first. */
  readonly locked: boolean;
}

export type PeopleQuestion =
  | LookQuestion
  | {
      readonly what: 'login';
      readonly user: string;
      readonly password: string;
      readonly address: string;
    }
  | { readonly what: 'logout'; readonly session: string; readonly address: string }
  | { readonly what: 'unlock'; readonly share: string; readonly password: string; readonly address: string }
  | { readonly what: 'shares'; readonly siteId: string }
  | { readonly what: 'addShare'; readonly siteId: string; readonly settings: NewShare; readonly actor: string | null }
  | { readonly what: 'removeShare'; readonly siteId: string; readonly id: string; readonly actor: string | null };

/** Answer to `login`. */
export interface LoggedIn {
  readonly token: string;
  readonly me: Me;
}
