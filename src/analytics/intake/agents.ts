/**
 * Agents: what events keep of a user agent, as the finished members of their line: device, browser and os, or the name
 * of a bot. Versions, languages and the text itself are not kept. Each agent is read once, then a look into a cache.
 */
import { AGENT_CHARS_MAX, AgentParser } from '../../visitor/device.ts';
import { BoundedCache, CACHE_ENTRIES_MAX, type CacheMeters } from '../../visitor/enrich.ts';
import { botOf, type Judged } from './bots.ts';

const NOTHING = Buffer.alloc(0);
const TEXT_CHARS_MAX = 100;

/** One per acceptor and kind of route. */
export class Agents {
  readonly #judged: Judged;
  readonly #meters: CacheMeters;
  readonly #parser = new AgentParser();
  readonly #cache = new BoundedCache<Buffer>(CACHE_ENTRIES_MAX);

  constructor(judged: Judged, meters: CacheMeters) {
    this.#judged = judged;
    this.#meters = meters;
  }

  /** Members without braces, such as `"device":"mobile","browser":"Firefox"`; empty when nothing is known. */
  traitsOf(userAgent: string): Buffer {
    // No real browser sends a longer one; of a longer text the begin counts.
    const agent = userAgent.length > AGENT_CHARS_MAX ? userAgent.slice(0, AGENT_CHARS_MAX) : userAgent;
    const known = this.#cache.get(agent);
    if (known !== undefined) {
      this.#meters.hits.add(1);
      return known;
    }
    this.#meters.misses.add(1);
    const traits = this.#read(agent);
    this.#cache.set(agent, traits);
    return traits;
  }

  #read(agent: string): Buffer {
    const bot = botOf(agent, this.#judged);
    if (bot !== '') return members({ bot });
    const { device, browser, os } = this.#parser.parse(agent);
    // A program tells neither: it is no desktop.
    if (browser.name === undefined && os.name === undefined && device.type === undefined) return NOTHING;
    return members({ device: device.type ?? 'desktop', browser: browser.name, os: os.name });
  }
}

/** JSON of the members that have a value, without braces. */
function members(values: Readonly<Record<string, string | undefined>>): Buffer {
  const clean = Object.entries(values)
    .map(([key, value]) => [key, value?.replace(/[^\x20-\x7e]/g, '').slice(0, TEXT_CHARS_MAX)] as const)
    .filter(([, value]) => value !== undefined && value !== '');
  return Buffer.from(JSON.stringify(Object.fromEntries(clean)).slice(1, -1), 'latin1');
}
