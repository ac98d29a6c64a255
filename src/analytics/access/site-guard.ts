/**
 * Site guard: who may send events of a site, and who may read its statistics; one per acceptor. It keeps what the
 * registry worker tells it, so that no request waits for anybody.
 *
 *   ACCESS=open                 everything
 *   no site is registered       everything
 *   not known yet               nothing: an installation that has sites is not open because its database is away
 *   events of an unknown site   refused, but for those of TEST_MODE
 *   a key is given              it must be one of the site, with the scope, neither revoked nor expired
 *   else                        the page's origin must be one of the site's, where it has origins or ingest keys
 *   statistics                  a read key of the site
 */
import { ProvenKeys } from '../../access/proven-keys.ts';
import { Cors } from '../../http/cors.ts';
import { ChangeCopy } from '../../service/change-copy.ts';
import type { HeldKey, HeldSite, SitesAnswer, SitesQuestion } from './site-registry.ts';

export const verdicts = [
  'ok',
  'unread',
  'unknown_site',
  'origin',
  'key_required',
  'key_invalid',
  'key_forbidden',
] as const;
export type Verdict = (typeof verdicts)[number];

/** What a request shows of who sends it; '' for nothing. */
export interface Credentials {
  readonly key: string;
  /** Of the page: the Origin header, else the origin in Referer (an <img> sends no Origin). */
  readonly origin: string;
}

interface Key extends HeldKey {
  readonly site: Site;
}

/** A site as the guard has it. */
class Site {
  readonly held: HeldSite;
  /** Made when it is needed: most of many sites send little to one acceptor. */
  #cors: Cors | undefined;

  constructor(held: HeldSite) {
    this.held = held;
  }

  get guarded(): boolean {
    return this.held.keyed || this.held.origins.length > 0;
  }

  /** `*` takes requests without an origin too. */
  takes(origin: string): boolean {
    const { origins } = this.held;
    if (origins.length === 0) return false;
    this.#cors ??= new Cors(origins, { intake: true });
    return this.#cors.judge(origin) === 'listed' || origins.includes('*');
  }
}

/** One reading of the registry, indexed. */
class Index {
  readonly sites = new Map<number, Site>();
  readonly names = new Map<string, Site>();
  readonly keys = new Map<string, Key>();

  put(held: HeldSite): void {
    const before = this.sites.get(held.site);
    if (before !== undefined) {
      for (const name of before.held.names) if (this.names.get(name) === before) this.names.delete(name);
      for (const { id } of before.held.keys) this.keys.delete(id);
      this.sites.delete(held.site);
    }
    if (held.gone) return;
    const site = new Site(held);
    this.sites.set(held.site, site);
    for (const name of held.names) this.names.set(name, site);
    for (const key of held.keys) this.keys.set(key.id, { ...key, site });
  }
}

export interface SiteGuardOptions {
  /** ACCESS */
  readonly access: 'keys' | 'open';
  /** KEY_PEPPER; without it every key is refused. */
  readonly pepper: string | undefined;
  readonly now: () => number;
  /** Site of the samples of TEST_MODE, which nobody registers; undefined: none are sent. */
  readonly testSite?: string | undefined;
}

export class SiteGuard {
  readonly #options: SiteGuardOptions;
  readonly #copy = new ChangeCopy<HeldSite, Index>(() => new Index());
  readonly #proven: ProvenKeys<Key>;

  constructor(options: SiteGuardOptions) {
    this.#options = options;
    this.#proven = new ProvenKeys(options.pepper, 'base64');
  }

  get #index(): Index | undefined {
    return this.#copy.index;
  }

  /** What to ask the registry next. */
  get question(): SitesQuestion {
    return this.#copy.question;
  }

  /** Whether it knows what is in force. */
  get known(): boolean {
    return this.#index !== undefined || this.#options.access === 'open';
  }

  /** Everybody may do everything. */
  get open(): boolean {
    return this.#options.access === 'open' || this.#index?.sites.size === 0;
  }

  /** Takes an answer of the registry; true: there is more, ask again. */
  take(answer: SitesAnswer): boolean {
    return this.#copy.take(answer);
  }

  /** May these send events of the site? */
  ingest(siteId: string, { key: text, origin }: Credentials): Verdict {
    if (this.open) return 'ok';
    if (this.#index === undefined) return 'unread';
    const site = this.#index.names.get(siteId);
    if (text !== '') {
      const key = this.#keyOf(text, this.#index);
      if (key === undefined) return 'key_invalid';
      if (site === undefined) return 'unknown_site';
      return key.site === site && key.scope === 'ingest' ? 'ok' : 'key_forbidden';
    }
    if (site === undefined) return siteId === this.#options.testSite ? 'ok' : 'unknown_site';
    if (!site.guarded || site.takes(origin)) return 'ok';
    return site.held.keyed && (origin === '' || site.held.origins.length === 0) ? 'key_required' : 'origin';
  }

  /** May who has this key read the statistics of the site? Who may not, learns nothing about which sites there are. */
  read(siteId: string, text: string): Verdict {
    if (this.open) return 'ok';
    if (this.#index === undefined) return 'unread';
    if (text === '') return 'key_required';
    const key = this.#keyOf(text, this.#index);
    if (key === undefined) return 'key_invalid';
    return key.scope === 'read' && key.site === this.#index.names.get(siteId) ? 'ok' : 'key_forbidden';
  }

  /** How many days a site keeps its events, where it has said so; else Infinity. */
  retentionDays(siteId: string): number {
    return this.#index?.names.get(siteId)?.held.retentionDays ?? Number.POSITIVE_INFINITY;
  }

  /** All names that lead to a site, when it is registered; else its own. */
  namesOf(siteId: string): readonly string[] {
    return this.#index?.names.get(siteId)?.held.names ?? [siteId];
  }

  /** Whose statistics this key reads; else why nobody's. */
  readable(text: string): Pick<HeldSite, 'site' | 'names'> | Exclude<Verdict, 'ok'> {
    if (this.#index === undefined) return 'unread';
    if (text === '') return 'key_required';
    const key = this.#keyOf(text, this.#index);
    if (key === undefined) return 'key_invalid';
    return key.scope === 'read' ? key.site.held : 'key_forbidden';
  }

  #keyOf(text: string, { keys }: Index): Key | undefined {
    const key = this.#proven.find(text, (id) => {
      const known = keys.get(id);
      return known === undefined ? undefined : [known];
    })?.secret;
    return key === undefined || (key.expires !== null && key.expires <= this.#options.now()) ? undefined : key;
  }
}
