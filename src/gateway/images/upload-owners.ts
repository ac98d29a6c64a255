/**
 * Upload owners: who owns which upload, as an acceptor knows it. The database is asked once; what is known is forgotten
 * when an owner deletes. That somebody owns nothing is not kept: the next upload may change it.
 */
import type { AcceptorFrame } from '../../service/contract.ts';
import { DATABASE_WORKER, type Question } from '../../service/database/questions.ts';
import type { Registry } from '../registry/registry.ts';
import { OWNS_AREA, type OwnsInput } from './answers.ts';
import type { Ownership } from './ownership.ts';

const KNOWN_MAX = 65_536;
const ASK_MS_MAX = 5000;
/** Files are named by what is in them: ab/<sha256>.jpg. */
const NAMED = /^[0-9a-f]{2}\/[0-9a-f]{64}\.[a-z0-9]+$/;
const SHARD = 'ab/';

export class UploadOwners implements Ownership {
  readonly #ask: AcceptorFrame['ask'];
  readonly #ended: () => void;
  /** Paths by user. */
  readonly #known = new Map<number, Set<string>>();
  readonly #asking = new Map<string, Promise<boolean>>();
  #size = 0;
  /** Counts what was taken back, so that an older answer is not kept. */
  #changes = 0;

  constructor(ask: AcceptorFrame['ask'], registry: Pick<Registry, 'onChange'>) {
    this.#ask = ask;
    this.#ended = registry.onChange(({ users, disowned }) => {
      if (users.length + disowned.length === 0) return;
      this.#changes++;
      for (const { userId, sha256 } of disowned) this.#forget(userId, sha256);
      for (const id of users) {
        this.#size -= this.#known.get(id)?.size ?? 0;
        this.#known.delete(id);
      }
    });
  }

  owns(userId: number, path: string): boolean | Promise<boolean> {
    if (this.#known.get(userId)?.has(path) === true) return true;
    if (!NAMED.test(path)) return false;
    const name = `${userId}/${path}`;
    const asking = this.#asking.get(name);
    if (asking !== undefined) return asking;
    const asked = this.#find(userId, path).finally(() => this.#asking.delete(name));
    this.#asking.set(name, asked);
    return asked;
  }

  async #find(userId: number, path: string): Promise<boolean> {
    const before = this.#changes;
    const input: OwnsInput = { userId, path };
    const question: Question = { area: OWNS_AREA, what: 'owns', input };
    const owned = (await this.#ask(DATABASE_WORKER, question, ASK_MS_MAX, 'reads')) as boolean;
    if (owned && before === this.#changes) {
      if (this.#size >= KNOWN_MAX) this.#forgetOne();
      const ofUser = this.#known.get(userId) ?? new Set<string>();
      if (!ofUser.has(path)) this.#size++;
      this.#known.set(userId, ofUser.add(path));
    }
    return owned;
  }

  /** One of the user who came first: so there is room, and the others need not be asked for all at once. */
  #forgetOne(): void {
    for (const [id, paths] of this.#known) {
      for (const path of paths) {
        paths.delete(path);
        this.#size--;
        if (paths.size === 0) this.#known.delete(id);
        return;
      }
    }
  }

  /** One upload of a user; its path tells its digest (NAMED). */
  #forget(userId: number, sha256: string): void {
    const ofUser = this.#known.get(userId);
    if (ofUser === undefined) return;
    for (const path of ofUser) if (path.startsWith(sha256, SHARD.length) && ofUser.delete(path)) this.#size--;
  }

  close(): void {
    this.#ended();
    this.#known.clear();
  }
}
