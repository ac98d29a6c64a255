/** View: the registry as an acceptor has it, by the answers of the registry worker (worker.ts). */
import { ChangeCopy, type Changes, type ChangesQuestion, type Feed, openFeed } from '../../service/change-copy.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { BackendRow, GatewayKey, GatewayUser, PurgeRule } from '../model.ts';
import type { Item } from './items.ts';
import type { Registry, RegistryChange } from './registry.ts';

export const REGISTRY_WORKER = 'registry';
/** With the worker's look every 500 ms, which is needed only where no NOTIFY passes, it stays below a second. */
const EVERY_MS = 250;

/** What one answer has changed. */
class Changed {
  readonly users = new Set<number>();
  readonly keys = new Set<string>();
  readonly disowned: { readonly userId: number; readonly sha256: string }[] = [];
  readonly removed: string[] = [];
  readonly purges = { rules: [] as PurgeRule[], gone: [] as number[] };
  backends = false;

  get any(): boolean {
    const { users, keys, disowned, removed, backends, purges } = this;
    const lists = [disowned, removed, purges.rules, purges.gone];
    return backends || users.size + keys.size > 0 || lists.some(({ length }) => length > 0);
  }
}

class Index {
  readonly users = new Map<number, GatewayUser>();
  readonly keys = new Map<string, GatewayKey>();
  readonly purges = new Map<number, PurgeRule>();
  backends: readonly BackendRow[] = [];
  readonly #changed: () => Changed;

  constructor(changed: () => Changed) {
    this.#changed = changed;
  }

  put(item: Item): void {
    const changed = this.#changed();
    switch (item.kind) {
      case 'user':
        changed.users.add(Number(item.name));
        place(this.users, Number(item.name), item.value);
        break;
      case 'key':
        changed.keys.add(item.name);
        place(this.keys, item.name, item.value);
        break;
      case 'purge':
        if (item.value === null) changed.purges.gone.push(Number(item.name));
        else changed.purges.rules.push(item.value);
        place(this.purges, Number(item.name), item.value);
        break;
      case 'backends':
        changed.backends = true;
        this.backends = item.value;
        break;
      case 'disowned': {
        const [userId = '', sha256 = ''] = item.name.split('/');
        changed.disowned.push({ userId: Number(userId), sha256 });
        break;
      }
      case 'removed':
        changed.removed.push(item.name);
    }
  }
}

function place<K, V>(map: Map<K, V>, key: K, value: V | null): void {
  if (value === null) map.delete(key);
  else map.set(key, value);
}

export class RegistryView implements Registry {
  readonly #listeners = new Set<(change: RegistryChange) => void>();
  #changed = new Changed();
  readonly #copy = new ChangeCopy<Item, Index>(() => new Index(() => this.#changed));
  /** Told what a listener throws: the other listeners are called all the same. */
  readonly #failed: (error: unknown) => void;

  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  get question(): ChangesQuestion {
    return this.#copy.question;
  }

  get known(): boolean {
    return this.#copy.index !== undefined;
  }

  /** Takes an answer of the worker; true: there is more, ask again. */
  take(changes: Changes<Item>): boolean {
    const before = this.#copy.index;
    const more = this.#copy.take(changes);
    if (more) return true;
    const anew = before !== this.#copy.index;
    if (before !== undefined && anew) this.#noteGone(before);
    const changed = this.#changed;
    if (!changed.any && !anew) return false;
    this.#changed = new Changed();
    const { users, keys, backends, purges, removed, disowned } = changed;
    const change = { anew, users: [...users], keys: [...keys], backends, purges, removed, disowned };
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#failed(error);
      }
    }
    return false;
  }

  /** A new reading does not name what went while nobody looked. */
  #noteGone(before: Index): void {
    const { users, keys } = this.#changed;
    for (const id of before.users.keys()) users.add(id);
    for (const id of before.keys.keys()) keys.add(id);
    this.#changed.backends = true;
  }

  key(id: string): GatewayKey | undefined {
    return this.#copy.index?.keys.get(id);
  }

  user(id: number): GatewayUser | undefined {
    return this.#copy.index?.users.get(id);
  }

  get backends(): readonly BackendRow[] {
    return this.#copy.index?.backends ?? [];
  }

  get purges(): readonly PurgeRule[] {
    return [...(this.#copy.index?.purges.values() ?? [])].sort((a, b) => a.id - b.id);
  }

  onChange(listener: (change: RegistryChange) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The feed of it, once it has one. */
  feed: Feed | undefined;

  close(): void {
    this.feed?.close();
    this.#listeners.clear();
  }
}

type Frame = Pick<AcceptorFrame, 'ask' | 'rehearsing' | 'log'>;

/** Resolves when what is in the database is known, or after a few seconds without it. A rehearsal knows nobody. */
export async function openRegistry({ ask, rehearsing, log }: Frame): Promise<Registry> {
  const view = new RegistryView((error) => log.error({ error }, 'a change of the registry was not taken everywhere'));
  if (rehearsing) view.take({ base: 1, version: 0, items: [], more: false });
  else
    view.feed = await openFeed<Item>(
      { ask },
      { worker: REGISTRY_WORKER, ask: (question) => question, everyMs: EVERY_MS, copy: view },
    );
  return view;
}
