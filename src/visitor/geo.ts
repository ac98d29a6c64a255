/**
 * Geo: what a MaxMind database knows about an address: {"country":"DE","region":"BE","city":"Berlin"}, without the
 * members that it does not know. The file is looked at now and then and read again when it has changed. While a new
 * file cannot be read, the last good one stays.
 */
import { readFile, stat } from 'node:fs/promises';
import { type CityResponse, Reader } from 'maxmind';
import { errors } from '../kernel/errors.ts';
import { BoundedCache, CACHE_ENTRIES_MAX, type CacheMeters, type Lookup } from './enrich.ts';

const NOTHING = Buffer.alloc(0);

/** Hears what the region of an address is called that was looked up. */
export type GeoNamed = (country: unknown, region: unknown, name: unknown) => void;

export class GeoLookup implements Lookup {
  readonly #file: string;
  readonly #meters: CacheMeters;
  readonly #onProblem: (error: unknown) => void;
  readonly #named: GeoNamed | undefined;
  readonly #cache = new BoundedCache<Buffer>(CACHE_ENTRIES_MAX);
  #reader: Reader<CityResponse> | undefined;
  #stamp = '';
  #timer: NodeJS.Timeout | undefined;

  private constructor(file: string, meters: CacheMeters, onProblem: (error: unknown) => void, named?: GeoNamed) {
    this.#file = file;
    this.#named = named;
    this.#meters = meters;
    this.#onProblem = onProblem;
  }

  /**
   * Rejects with CONFIG when the file is no database. `onProblem` hears when a later file is none; the last good one
   * stays in use. `named` hears the names of regions.
   */
  static async open(
    file: string,
    meters: CacheMeters,
    onProblem: (error: unknown) => void,
    checkEveryMs = 10_000,
    named?: GeoNamed,
  ): Promise<GeoLookup> {
    const lookup = new GeoLookup(file, meters, onProblem, named);
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
    this.#named?.(geo.country, geo.region, record.subdivisions?.[0]?.names?.en);
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
