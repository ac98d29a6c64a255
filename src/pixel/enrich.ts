/**
 * Enrich: what is known of an address (GEOIP_DB) and of a user agent (UA_PARSE), as finished JSON bytes for the encoder. Both stand
 * behind a bounded cache; neither exists when its option is off.
 *
 *   geo     {"country":"DE","region":"BE","city":"Berlin"}: what the database has of it, undefined when nothing
 *   device  {"type":"mobile","browser":"Firefox","browser_version":"140.0","os":"Android","os_version":"15","bot":false}
 */
import { readFile, stat } from 'node:fs/promises';
import { isbot } from 'isbot';
import { type CityResponse, Reader } from 'maxmind';
import { UAParser } from 'ua-parser-js';
import { errors } from '../kernel/errors.ts';

/** What a cache counts. */
export interface CacheMeters {
  readonly hits: { add(count: number): void };
  readonly misses: { add(count: number): void };
}

/** A bounded cache of two generations: the older half goes at once, no list is kept per entry. */
export class BoundedCache<V> {
  readonly #half: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();

  constructor(entriesMax: number) {
    this.#half = Math.max(1, entriesMax >>> 1);
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: V): void {
    if (this.#young.size >= this.#half) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  clear(): void {
    this.#young = new Map();
    this.#old = new Map();
  }
}

const ENTRIES_MAX = 20_000;
const AGENT_CHARS_MAX = 512;
const NOTHING = Buffer.alloc(0);

export class GeoLookup {
  readonly #file: string;
  readonly #meters: CacheMeters;
  readonly #onProblem: (error: unknown) => void;
  readonly #cache = new BoundedCache<Buffer>(ENTRIES_MAX);
  #reader: Reader<CityResponse> | undefined;
  #stamp = '';
  #timer: NodeJS.Timeout | undefined;

  private constructor(file: string, meters: CacheMeters, onProblem: (error: unknown) => void) {
    this.#file = file;
    this.#meters = meters;
    this.#onProblem = onProblem;
  }

  /** Rejects with CONFIG when the file is no database. `onProblem` hears of a later one; the last good database stays in use. */
  static async open(
    file: string,
    meters: CacheMeters,
    onProblem: (error: unknown) => void,
    checkEveryMs = 10_000,
  ): Promise<GeoLookup> {
    const lookup = new GeoLookup(file, meters, onProblem);
    try {
      await lookup.#load();
    } catch (cause) {
      throw errors.CONFIG({ problems: [`GEOIP_DB must be a MaxMind database: found=${file}`] }, cause);
    }
    lookup.#timer = setInterval(() => void lookup.#reload(), checkEveryMs);
    lookup.#timer.unref();
    return lookup;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** JSON of what is known of the address; undefined: nothing. */
  find(address: string): Buffer | undefined {
    if (address === '') return undefined;
    const known = this.#cache.get(address);
    if (known !== undefined) {
      this.#meters.hits.add(1);
      return known === NOTHING ? undefined : known;
    }
    this.#meters.misses.add(1);
    const found = this.#look(address);
    this.#cache.set(address, found);
    return found === NOTHING ? undefined : found;
  }

  #look(address: string): Buffer {
    let record: CityResponse | null | undefined;
    try {
      record = this.#reader?.get(address);
    } catch (error) {
      // A damaged database costs the enrichment, not the event.
      this.#onProblem(error);
    }
    if (!record) return NOTHING;
    const geo = {
      country: record.country?.iso_code ?? record.registered_country?.iso_code,
      region: record.subdivisions?.[0]?.iso_code,
      city: record.city?.names?.en,
    };
    const json = JSON.stringify(geo);
    return json === '{}' ? NOTHING : Buffer.from(json);
  }

  async #load(): Promise<void> {
    const { ino, size, mtimeMs } = await stat(this.#file);
    const stamp = `${ino} ${size} ${mtimeMs}`;
    if (stamp === this.#stamp) return;
    const reader = new Reader<CityResponse>(await readFile(this.#file));
    this.#reader = reader;
    this.#stamp = stamp;
    this.#cache.clear();
  }

  async #reload(): Promise<void> {
    try {
      await this.#load();
    } catch (error) {
      this.#onProblem(error);
    }
  }
}

export class DeviceLookup {
  readonly #meters: CacheMeters;
  readonly #cache = new BoundedCache<Buffer>(ENTRIES_MAX);
  readonly #parser = new UAParser();

  constructor(meters: CacheMeters) {
    this.#meters = meters;
  }

  /** JSON of what the user agent says; undefined for none, and for one that is absurdly long. */
  find(userAgent: string): Buffer | undefined {
    // Longer ones are nobody's: not worth a cache entry, and the parser's expressions are only safe on short texts.
    if (userAgent === '' || userAgent.length > AGENT_CHARS_MAX) return undefined;
    const known = this.#cache.get(userAgent);
    if (known !== undefined) {
      this.#meters.hits.add(1);
      return known;
    }
    this.#meters.misses.add(1);
    const device = Buffer.from(JSON.stringify(this.#read(userAgent)));
    this.#cache.set(userAgent, device);
    return device;
  }

  #read(userAgent: string): Readonly<Record<string, unknown>> {
    const { browser, os, device } = this.#parser.setUA(userAgent).getResult();
    const bot = isbot(userAgent);
    return {
      type: bot ? 'bot' : (device.type ?? 'desktop'),
      browser: browser.name,
      browser_version: browser.version,
      os: os.name,
      os_version: os.version,
      bot,
    };
  }
}
