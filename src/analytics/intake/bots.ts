/**
 * Bots: whether a user agent is a crawler or a headless browser, and what it is called. isbot knows the patterns.
 *
 * isbot also takes every program for a bot: curl, Postman, axios, okhttp, a shop's own back end. On POST /events
 * programs are the senders. So there a program (whatever does not call itself Mozilla, as all browsers do) is a bot
 * only when it says so in a word; a browser is judged by isbot on every route.
 */
import { isbot, isbotMatches } from 'isbot';

/** Which routes an agent is judged for: `events` takes programs, `pages` is what browsers load. */
export type Judged = 'events' | 'pages';

const NAME_CHARS_MAX = 50;
const browser = /^\s*(?:Mozilla|Opera)\//i;
/** What crawlers, monitors and headless browsers call themselves. CUBOT makes telephones. */
const crawler =
  /(?<!\bcu)bots?(?:[^a-z]|$)|crawl|spider|scrap[ey]|slurp|headless|phantomjs|selenium|playwright|puppeteer|externalhit|archiver|pingdom|statuscake|lighthouse|wappalyzer|httrack|nutch|kube-probe|healthcheck/i;
/** Matches that say nothing of who it is: parts of the address that a crawler gives for questions. */
const nameless = /^(?:https?|\.com|url|server|\W*)$/i;
const word = /[\w.-]/;

/** Name of the bot; '' for none. `userAgent` is bounded by the caller, for the patterns are slow on long texts. */
export function botOf(userAgent: string, judged: Judged): string {
  const program = judged === 'events' && !browser.test(userAgent);
  return (program ? crawler.test(userAgent) : isbot(userAgent)) ? nameOf(userAgent) : '';
}

/** The product that a pattern matched: Googlebot, where the pattern saw "bot". */
function nameOf(userAgent: string): string {
  const said = crawler.exec(userAgent);
  if (said !== null) return productAt(userAgent, said.index) || 'unknown';
  for (const match of isbotMatches(userAgent)) {
    if (nameless.test(match)) continue;
    const name = productAt(userAgent, userAgent.indexOf(match));
    if (name !== '') return name;
  }
  return 'unknown';
}

function productAt(userAgent: string, at: number): string {
  let from = at;
  let to = at + 1;
  while (from > 0 && word.test(userAgent[from - 1]!)) from -= 1;
  while (to < userAgent.length && word.test(userAgent[to]!)) to += 1;
  return userAgent.slice(from, Math.min(to, from + NAME_CHARS_MAX)).replace(/^[^a-z0-9]+|[^a-z0-9]+$/gi, '');
}
