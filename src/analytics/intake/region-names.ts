/**
 * Region names: an event keeps the code of its region (DE-BE); its name is learned from the GeoIP database when the region
 * is looked up, and stored once for all sites, so that the dashboard can show it. A code without a name is shown as it is.
 *
 * Bounded: KNOWN_MAX regions, of which there are some 5,000; TOLD_MAX of one telling.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';

/** What the worker `registry` is asked to store. */
export const NAMES = 'region_names';
export interface NamesQuestion {
  readonly what: typeof NAMES;
  readonly names: readonly (readonly [code: string, name: string])[];
}

const KNOWN_MAX = 10_000;
const TOLD_MAX = 500;
const NAME_CHARS_MAX = 100;
const ASK_MS_MAX = 10_000;
/** After a failure. */
const PAUSE_MS = 30_000;

/** ISO codes are a few letters and digits, whatever a damaged database says. */
export const isCode = (value: unknown): value is string =>
  typeof value === 'string' && /^[A-Za-z0-9]{1,10}$/.test(value);

export class RegionNames {
  readonly #known = new Map<string, string>();
  #fresh = new Map<string, string>();
  #asking = false;
  #pauseUntil = 0;
  readonly #tell: (question: NamesQuestion, timeoutMs: number) => Promise<unknown>;

  constructor(tell: (question: NamesQuestion, timeoutMs: number) => Promise<unknown>) {
    this.#tell = tell;
  }

  learn(country: unknown, region: unknown, name: unknown): void {
    if (!isCode(country) || !isCode(region) || typeof name !== 'string' || name === '') return;
    const code = `${country}-${region}`;
    const clean = name.replaceAll('\0', '\ufffd').slice(0, NAME_CHARS_MAX).toWellFormed();
    if (this.#known.get(code) === clean || (this.#known.size >= KNOWN_MAX && !this.#known.has(code))) return;
    this.#known.set(code, clean);
    this.#fresh.set(code, clean);
  }

  /** Called several times a second: has stored what is new. What cannot be stored is tried again. */
  look(nowMs: number): void {
    if (this.#fresh.size === 0 || this.#asking || nowMs < this.#pauseUntil) return;
    this.#asking = true;
    const names = [...this.#fresh].slice(0, TOLD_MAX);
    for (const [code] of names) this.#fresh.delete(code);
    this.#tell({ what: NAMES, names }, ASK_MS_MAX)
      .catch(() => {
        this.#pauseUntil = nowMs + PAUSE_MS;
        this.#fresh = new Map([...names, ...this.#fresh]);
      })
      .finally(() => {
        this.#asking = false;
      });
  }
}

/** Several processes may learn the same at once: rows are written in the order of their codes. */
export async function storeNames(link: PostgresLink, names: NamesQuestion['names']): Promise<void> {
  const sorted = names.toSorted(([a], [b]) => (a < b ? -1 : 1));
  await link.query(
    `INSERT INTO region_names AS r (code, name) SELECT * FROM unnest($1::text[], $2::text[])
     ON CONFLICT (code) DO UPDATE SET name = excluded.name WHERE r.name <> excluded.name`,
    [sorted.map(([code]) => code), sorted.map(([, name]) => name)],
  );
}
