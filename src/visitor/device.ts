/**
 * Device: what a user agent says about its device, such as
 * {"type":"mobile","browser":"Firefox","browser_version":"140.0","os":"Android","bot":false}.
 */
import { isbot } from 'isbot';
import { UAParser } from 'ua-parser-js';
import { BoundedCache, CACHE_ENTRIES_MAX, type CacheMeters, type Lookup } from './enrich.ts';

/** No real browser sends a longer one. The parsers' regular expressions are only safe on short texts. */
export const AGENT_CHARS_MAX = 512;

/** What the library makes of a user agent of at most AGENT_CHARS_MAX. */
export class AgentParser {
  readonly #parser = new UAParser();

  parse(userAgent: string): UAParser.IResult {
    return this.#parser.setUA(userAgent).getResult();
  }
}

export class DeviceLookup implements Lookup {
  readonly #meters: CacheMeters;
  readonly #cache = new BoundedCache<Buffer>(CACHE_ENTRIES_MAX);
  readonly #parser = new AgentParser();

  constructor(meters: CacheMeters) {
    this.#meters = meters;
  }

  /** JSON of what the user agent says; undefined for none, and for one that is absurdly long. */
  find(userAgent: string): Buffer | undefined {
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
    const { browser, os, device } = this.#parser.parse(userAgent);
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
