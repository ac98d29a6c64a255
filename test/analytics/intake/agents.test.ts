import { expect, test } from 'vitest';
import { Agents } from '../../../src/analytics/intake/agents.ts';
import { botOf } from '../../../src/analytics/intake/bots.ts';

const counted = () => {
  const counts = { hits: 0, misses: 0 };
  const cell = (key: 'hits' | 'misses') => ({
    add: (count: number) => {
      counts[key] += count;
    },
  });
  return { counts, meters: { hits: cell('hits'), misses: cell('misses') } };
};
const chrome = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
const compatible = (name: string) => `Mozilla/5.0 (compatible; ${name}; +http://example.com/bot.html)`;

test.each([
  ['curl/8.5.0'],
  ['PostmanRuntime/7.36.0'],
  ['Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.1'],
  ['Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.19045; en-US) PowerShell/7.4.0'],
  ['axios/1.6.0'],
  ['node'],
  ['undici'],
  ['node-fetch/1.0 (+https://github.com/bitinn/node-fetch)'],
  ['python-requests/2.31'],
  ['Python/3.11 aiohttp/3.9'],
  ['okhttp/4.12'],
  ['Dalvik/2.1.0 (Linux; U; Android 13; CUBOT X30 Build/TP1A)'],
  ['Go-http-client/1.1'],
  ['Java/17.0.1'],
  ['Apache-HttpClient/4.5 (Java/17)'],
  ['GuzzleHttp/7'],
  ['Dart/3.1 (dart:io)'],
  ['Wget/1.21'],
  ['my-shop-server/1.0'],
  [''],
])('%s sends events, and is no bot on POST /events', (agent) => {
  expect(botOf(agent, 'events')).toBe('');
});

test.each([
  [compatible('Googlebot/2.1'), 'Googlebot'],
  ['Googlebot/2.1 (+http://www.google.com/bot.html)', 'Googlebot'],
  [compatible('bingbot/2.0'), 'bingbot'],
  [compatible('YandexBot/3.0'), 'YandexBot'],
  ['GPTBot/1.0', 'GPTBot'],
  ['UptimeRobot/2.0', 'UptimeRobot'],
  ['Scrapy/2.5 (+https://scrapy.org)', 'Scrapy'],
  ['facebookexternalhit/1.1', 'facebookexternalhit'],
  ['Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)', 'Slackbot-LinkExpanding'],
  [chrome.replace('Chrome/', 'HeadlessChrome/'), 'HeadlessChrome'],
  [
    'Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1',
    'PhantomJS',
  ],
])('%s is a bot on every route, called %s', (agent, name) => {
  expect(botOf(agent, 'events')).toBe(name);
  expect(botOf(agent, 'pages')).toBe(name);
});

test('what browsers load is judged by isbot as it is', () => {
  expect(botOf('curl/8.5.0', 'pages')).toBe('curl');
  expect(botOf('axios/1.6.0', 'pages')).toBe('axios');
  expect(botOf('', 'pages')).toBe('');
  expect(botOf(chrome, 'pages')).toBe('');
});

test('the name of a bot is bounded, and plain text whatever the agent says', () => {
  for (const agent of [
    `Mozilla/5.0 ${'x'.repeat(300)}bot/1`,
    'Mozilla/5.0 "},{"bot',
    'bot',
    '; ä;',
    `${'-'.repeat(80)}bot/1`,
  ])
    expect(botOf(agent, 'events')).toMatch(/^[\w.-]{0,50}$/);
  expect(botOf(`${'-'.repeat(80)}bot/1`, 'events')).toBe('unknown');
});

test('events keep device, browser and system, without versions', () => {
  const { counts, meters } = counted();
  const agents = new Agents('events', meters);
  const read = (agent: string) => JSON.parse(`{${agents.traitsOf(agent)}}`) as unknown;
  expect(read(chrome)).toEqual({ device: 'desktop', browser: 'Chrome', os: 'Linux' });
  const iphone =
    'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1';
  expect(read(iphone)).toEqual({ device: 'mobile', browser: 'Mobile Safari', os: 'iOS' });
  expect(read('Mozilla/5.0 (Windows NT 10.0; en-US) PowerShell/7.4.0')).toMatchObject({ os: 'Windows' });
  expect(read('curl/8.5.0')).toEqual({});
  expect(read(compatible('Googlebot/2.1'))).toEqual({ bot: 'Googlebot' });
  expect(counts).toEqual({ hits: 0, misses: 5 });
  expect(read(chrome)).toEqual({ device: 'desktop', browser: 'Chrome', os: 'Linux' });
  expect(read('curl/8.5.0')).toEqual({});
  expect(counts).toEqual({ hits: 2, misses: 5 });
});

test('an agent of any length and any bytes makes members that are JSON', () => {
  const agents = new Agents('pages', counted().meters);
  for (const agent of [
    `${chrome} ${'x'.repeat(9000)}`,
    'Mozilla/5.0 (Linux; Android 9; \u0000"\\ä€) Chrome/1',
    '"',
    '\\',
  ])
    expect(() => JSON.parse(`{${agents.traitsOf(agent)}}`)).not.toThrow();
});
