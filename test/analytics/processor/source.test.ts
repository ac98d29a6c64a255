import { expect, test } from 'vitest';
import { hostOf, sourceOf } from '../../../src/analytics/processor/source.ts';

const from = (referrer: string, more: object = {}) => sourceOf({ siteId: 'example.com', referrer, ...more });

test.each([
  ['https://www.google.com/', 'Google'],
  ['https://www.google.co.uk/url?q=x', 'Google'],
  ['https://google.com.br', 'Google'],
  ['android-app://com.google.android.googlequicksearchbox/', 'Google'],
  ['https://mail.google.com/mail/u/0/', 'Gmail'],
  ['android-app://com.google.android.gm', 'Gmail'],
  ['https://gemini.google.com/app', 'Gemini'],
  ['https://notgoogle.com/', 'notgoogle.com'],
  ['https://google.evil.com/', 'google.evil.com'],
  ['https://de.search.yahoo.com/', 'Yahoo'],
  ['https://mail.yahoo.com/', 'Yahoo Mail'],
  ['https://duckduckgo.com/', 'DuckDuckGo'],
  ['https://l.facebook.com/l.php', 'Facebook'],
  ['https://lm.facebook.com', 'Facebook'],
  ['https://t.co/abc', 'X'],
  ['https://old.reddit.com/r/x', 'Reddit'],
  ['https://chatgpt.com/', 'ChatGPT'],
  ['https://www.perplexity.ai/search', 'Perplexity'],
  ['https://claude.ai/chat', 'Claude'],
  ['https://news.ycombinator.com/item?id=1', 'Hacker News'],
  ['https://WWW.Example.ORG:8443/a', 'example.org'],
  ['https://user:secret@blog.example.org/a@b', 'blog.example.org'],
  ['//cdn.example.org/x', 'cdn.example.org'],
])('%s is %s', (referrer, source) => {
  expect(from(referrer)).toBe(source);
});

test.each([
  ['', ''],
  ['about:blank', ''],
  ['just words', ''],
  ['/relative/path', ''],
  ['https://', ''],
  ['https:///path', ''],
  ['javascript://alert(1) x', ''],
  [`https://${'a'.repeat(300)}/`, ''],
  ['https://example.com/other', ''],
  ['https://www.example.com:8080/other', ''],
])('%s says nothing', (referrer, source) => {
  expect(from(referrer)).toBe(source);
});

test('a page of the host that the event itself is of is no source, whatever the site is called', () => {
  const inner = { siteId: 'shop-1', url: 'https://shop.example.com/cart', referrer: 'https://shop.example.com/' };
  expect(sourceOf(inner)).toBe('');
  expect(sourceOf({ ...inner, url: 'https://www.shop.example.com/' })).toBe('');
  expect(sourceOf({ ...inner, referrer: 'https://blog.example.com/' })).toBe('blog.example.com');
});

test('utm_source wins, as it was given; an empty one says nothing', () => {
  expect(from('https://www.google.com/', { utm_source: 'Newsletter May' })).toBe('Newsletter May');
  expect(from('https://www.google.com/', { utm_source: '' })).toBe('Google');
  expect(sourceOf({ siteId: 'a', utm_source: 'x' })).toBe('x');
  expect(sourceOf({ siteId: 'a' })).toBe('');
});

test('hosts are read as browsers write them', () => {
  expect(hostOf('http://[2001:DB8::1]:8080/a')).toBe('[2001:db8::1]');
  expect(hostOf('https://EXAMPLE.com')).toBe('example.com');
  expect(hostOf('https://example.com?x=https://other.com')).toBe('example.com');
  expect(hostOf('https://example.com#@other.com')).toBe('example.com');
  expect(hostOf('x?u=https://other.com')).toBe('');
  expect(hostOf('https://exa mple.com/')).toBe('');
});
