/**
 * Source: where a visit came from, by the first of these that says something.
 *
 *   utm_source     as it was given: whoever tags a link says it best
 *   a known name   of the referrer's host: Google for www.google.co.uk
 *   the host       of the referrer, without "www."
 *   ''             no referrer, one without a host, or a page of the same site
 *
 * The table is our own list, made for this file from what these services send; it is no copy of another tool's. It is
 * short on purpose: a host that is missing stands under its own name, which says the same.
 */
import { BoundedCache } from '../../visitor/enrich.ts';

/** What of an event the source depends on. */
export interface Referred {
  readonly siteId: string;
  readonly url?: string | undefined;
  readonly referrer?: string | undefined;
  readonly utm_source?: string | undefined;
}

/** Name, then its hosts: each stands for itself and for every host below it. */
const hostsByName: Readonly<Record<string, string>> = {
  // Search engines
  Bing: 'bing.com cn.bing.com',
  Brave: 'search.brave.com',
  DuckDuckGo: 'duckduckgo.com',
  Ecosia: 'ecosia.org',
  Kagi: 'kagi.com',
  Naver: 'search.naver.com m.search.naver.com',
  Qwant: 'qwant.com',
  Seznam: 'search.seznam.cz seznam.cz',
  Startpage: 'startpage.com',
  Baidu: 'baidu.com',
  Sogou: 'sogou.com',
  Yandex: 'ya.ru',
  // Social networks, forums, messengers
  Bluesky: 'bsky.app',
  Discord: 'discord.com discordapp.com',
  Facebook: 'facebook.com fb.com fb.me com.facebook.katana',
  GitHub: 'github.com',
  'Hacker News': 'news.ycombinator.com',
  Instagram: 'instagram.com com.instagram.android',
  LinkedIn: 'linkedin.com lnkd.in com.linkedin.android',
  Lobsters: 'lobste.rs',
  Mastodon: 'mastodon.social mastodon.online mstdn.social fosstodon.org hachyderm.io',
  Medium: 'medium.com',
  Pinterest: 'pinterest.com pin.it com.pinterest',
  'Product Hunt': 'producthunt.com',
  Quora: 'quora.com',
  Reddit: 'reddit.com redd.it com.reddit.frontpage',
  Slack: 'slack.com com.slack',
  Snapchat: 'snapchat.com',
  'Stack Overflow': 'stackoverflow.com',
  Teams: 'teams.microsoft.com teams.live.com statics.teams.cdn.office.net',
  Telegram: 'telegram.org t.me web.telegram.org org.telegram.messenger',
  Threads: 'threads.net threads.com',
  TikTok: 'tiktok.com',
  Tumblr: 'tumblr.com',
  Twitch: 'twitch.tv',
  VK: 'vk.com vk.ru',
  WeChat: 'wechat.com weixin.qq.com',
  WhatsApp: 'whatsapp.com wa.me com.whatsapp',
  X: 'x.com twitter.com t.co com.twitter.android',
  YouTube: 'youtube.com youtu.be',
  // Mail
  Gmail: 'mail.google.com com.google.android.gm',
  'Mail.ru': 'e.mail.ru mail.ru',
  Outlook: 'outlook.live.com outlook.office.com outlook.office365.com outlook.com',
  'Proton Mail': 'mail.proton.me',
  'Yahoo Mail': 'mail.yahoo.com',
  // AI assistants
  ChatGPT: 'chatgpt.com chat.openai.com',
  Claude: 'claude.ai',
  Copilot: 'copilot.microsoft.com',
  DeepSeek: 'chat.deepseek.com',
  Gemini: 'gemini.google.com bard.google.com',
  Grok: 'grok.com',
  'Le Chat': 'chat.mistral.ai',
  Perplexity: 'perplexity.ai',
  // Others that have the host of a search engine
  Google: 'com.google.android.googlequicksearchbox',
  'Google News': 'news.google.com',
};

/** Names that have a domain in every country: google.de, google.co.uk, google.com.br. */
const nameByWord: Readonly<Record<string, string>> = {
  google: 'Google',
  yahoo: 'Yahoo',
  yandex: 'Yandex',
  pinterest: 'Pinterest',
};
const inAnyCountry = /(?:^|\.)(google|yahoo|yandex|pinterest)\.(?:com|[a-z]{2}|com?\.[a-z]{2})$/;

const nameByHost = new Map<string, string>();
for (const [name, hosts] of Object.entries(hostsByName))
  for (const host of hosts.split(' ')) nameByHost.set(host, name);

/** Hosts are at most 253 characters (RFC 1035, 2.3.4); a longer one is no host. */
const HOST_CHARS_MAX = 253;
const HOSTS_MAX = 10_000;
const known = new BoundedCache<string>(HOSTS_MAX);

export function sourceOf(event: Referred): string {
  const campaign = event.utm_source;
  if (campaign !== undefined && campaign !== '') return campaign;
  const { referrer } = event;
  if (referrer === undefined || referrer === '') return '';
  const host = bareHost(hostOf(referrer));
  if (host === '' || host === bareHost(event.siteId.toLowerCase())) return '';
  if (event.url !== undefined && host === bareHost(hostOf(event.url))) return '';
  let name = known.get(host);
  if (name === undefined) {
    name = nameOf(host);
    known.set(host, name);
  }
  return name;
}

/**
 * The host of a URL in lower case, without user and port; '' when the text is no URL with a host. Not `new URL`: it
 * costs ten times as much, and it refuses what browsers and apps really send.
 */
export function hostOf(url: string): string {
  const start = url.startsWith('//') ? 2 : url.indexOf('://') + 3;
  if (start === 2 ? !url.startsWith('//') : !scheme.test(url)) return '';
  let end = start;
  while (end < url.length && !endsHost(url.charCodeAt(end))) end += 1;
  const from = url.lastIndexOf('@', end - 1) + 1;
  const authority = url.slice(Math.max(start, from), end).toLowerCase();
  const port = authority.startsWith('[') ? authority.indexOf(']') + 1 : authority.indexOf(':');
  const host = port > 0 ? authority.slice(0, port) : port === 0 ? '' : authority;
  return host.length <= HOST_CHARS_MAX && !notInHost.test(host) ? host : '';
}

const scheme = /^[a-z][a-z0-9+.-]*:\/\//i;
/** Blanks, control characters and what separates the parts of a URL never stand in a host. */
const notInHost = /[\u0000-\u0020<>"\\^`{|}\u007f]/;
const endsHost = (code: number): boolean => code === 0x2f || code === 0x3f || code === 0x23 || code === 0x5c;

const bareHost = (host: string): string => (host.startsWith('www.') ? host.slice(4) : host);

function nameOf(host: string): string {
  for (let from = 0; ; ) {
    const name = nameByHost.get(from === 0 ? host : host.slice(from));
    if (name !== undefined) return name;
    const dot = host.indexOf('.', from);
    if (dot < 0) break;
    from = dot + 1;
  }
  const word = inAnyCountry.exec(host)?.[1];
  return word === undefined ? host : nameByWord[word]!;
}
