/**
 * Tracker: what a page sends of its visitor. Without a cookie and without an id of the visitor; the server makes one
 * that lasts a day (intake/visitor-id.ts).
 *
 *   views       the page that is loaded, each further one of pushState, replaceState, popstate and (hash mode)
 *               hashchange, and one that comes back from the back/forward cache. A page that is prerendered counts when
 *               it is shown
 *   engagement  ms for which the page was visible and had the focus, sent when it is left or hidden
 *   links       `outbound_link`, `file_download`
 *   sending     fetch with keepalive and text/plain: it outlives the page and needs no preflight
 *   unsent      what no server has taken is kept in localStorage and sent by the next page, or when the browser is
 *               online again. Its event_id keeps it from counting twice; the server forgets ids after 7 days, so it is
 *               thrown away before. Nothing is stored while everything arrives
 *   clock       the server's, since visitors' clocks may be wrong by days. Only a kept event goes by the visitor's
 */
import type { Options, Props, Track } from './module.d.ts';

const KEPT_MAX = 50;
const KEPT_MS_MAX = 6 * 86_400_000;
/** Shorter looks are not worth an event. */
const LOOK_MS_MIN = 100;
const FILES = 'pdf|zip|t?gz|7z|rar|dmg|exe|msi|csv|(doc|xls|ppt)x?|mp[34]';

/** Each option may be a text, as data-* of an element are. */
const wanted = (option: boolean | string | undefined) => `${option}` !== 'false';
const choice = (option: string | readonly string[]) => `${option}`.replace(/[\s,]+/g, '|');

export function start({
  site = location.hostname,
  api,
  hash = false,
  auto,
  exclude = '',
  dnt,
  outbound,
  downloads = FILES,
}: Options): Track {
  const browser = navigator as Navigator & { readonly globalPrivacyControl?: boolean };
  // '1', 'unspecified' or null.
  if (wanted(dnt) && (+browser.doNotTrack! || browser.globalPrivacyControl)) return () => {};

  const excluded = new RegExp(
    `^(${choice(exclude)
      .replace(/[^\w/*|]/g, '\\$&')
      .replace(/\*+/g, (stars) => (stars[1] ? '.*' : '[^/]*'))})$`,
  );
  const file = new RegExp(`\\.(${choice(downloads)})$`, 'i');
  const byHash = wanted(hash);

  // Fragments may hold tokens: they are sent in hash mode alone.
  const place = () => ({
    path: location.pathname + (byHash ? location.hash : ''),
    url: byHash ? location.href : location.href.split('#')[0]!,
  });
  /** What is looked at. */
  let page: ReturnType<typeof place> | undefined;
  let engagedMs = 0;
  let lookingSince = 0;
  let { referrer } = document;

  /** `final`: the status of an answer that another try would get as well; else false. */
  const post = (body: string, settle: (final: number | false) => unknown) =>
    // All bodies with keepalive are 64 KiB at most: an array, of what stays kept until it is taken, does without.
    fetch(api, { method: 'POST', body, keepalive: body[0] === '{', credentials: 'omit' })
      .then(
        // 408, 429 and 5xx: it is worth another try.
        ({ status }) => status < 429 && status !== 408 && status,
        () => false as const,
      )
      .then(settle)
      // A page may have no localStorage, or a full one: then nothing is kept.
      .catch(() => {});
  /** Kept events are under names of their own, `ringmain:TIME:ID`: pages in other tabs keep theirs meanwhile. */
  const KEPT = 'ringmain:';
  const kept = () => Object.keys(localStorage).filter((key) => key.startsWith(KEPT));
  /** Default: all that are kept. */
  const resend = (keys?: readonly string[]) => {
    try {
      keys ??= kept().filter((key) => +key.split(':')[1]! > Date.now() - KEPT_MS_MAX || !delete localStorage[key]);
      if (keys[0])
        post(`[${keys.map((key) => localStorage[key])}]`, (final) =>
          // 413: together they are too large, so each goes alone; one that is too large by itself is thrown away.
          keys!.map((key) => (final === 413 && keys![1] ? resend([key]) : final && delete localStorage[key])),
        );
    } catch {}
  };

  const send = (event_type: string, props?: Props, at = place(), more?: object) => {
    if (excluded.test(at.path)) return;
    // A blob's address ends in a random UUID (File API, 8.2.1), in pages without TLS too, which have no randomUUID().
    const event_id = URL.createObjectURL(new Blob()).slice(-36);
    const event = { site_id: site, event_type, event_id, ...at, ...more, props };
    const now = new Date();
    post(JSON.stringify(event), (final) => {
      if (!final && kept().length < KEPT_MAX)
        localStorage[`${KEPT}${+now}:${event_id}`] = JSON.stringify({ ...event, timestamp: now });
    });
  };

  /** Somebody looks, or looks away; `left`: the page is left. */
  const look = (left?: boolean) => {
    const now = performance.now();
    if (lookingSince) engagedMs += now - lookingSince;
    lookingSince = document.hidden || !document.hasFocus() ? 0 : now;
    if (left || document.hidden) {
      if (page && engagedMs >= LOOK_MS_MIN) send('engagement', { ms: Math.round(engagedMs) }, page);
      engagedMs = 0;
    }
  };

  /** `more`: it is a view whatever page was there before. */
  const view = (more?: object, props?: Props) => {
    const next = place();
    if (!more && page?.path === next.path) return;
    look(true);
    page = next;
    // A script sets the title of its next page when it likes: only that of a whole page is known. Where a visit came
    // from is told once.
    send('page_view', props, page, { referrer, ...more });
    referrer = '';
  };
  const track: Track = (name, props) => whenShown(() => (name === 'page_view' ? view({}, props) : send(name, props)));

  const click = ({ target, button }: MouseEvent) => {
    const link = (target as Element).closest?.<HTMLAnchorElement>('a[href]');
    // Not the right button; no mail address. The href of an <a> of SVG is no text.
    if (!link || button > 1 || !/^http/.test(link.href)) return;
    if (file.test(link.pathname)) track('file_download', { url: link.origin + link.pathname });
    else if (wanted(outbound) && link.host !== location.host) track('outbound_link', { url: link.href });
  };

  whenShown(() => {
    const whole = () => view({ title: document.title });
    const moved = () => view();
    resend();
    look();
    if (wanted(auto)) {
      whole();
      for (const name of ['pushState', 'replaceState'] as const) {
        const own = history[name];
        history[name] = (...args) => {
          own.apply(history, args);
          moved();
        };
      }
      on(byHash ? 'popstate hashchange' : 'popstate', moved);
      on('pageshow', ({ persisted }: PageTransitionEvent) => persisted && whole());
    }
    on('online', () => resend());
    on('focus blur visibilitychange pagehide', ({ type }: globalThis.Event) => look(type === 'pagehide'));
    on('click auxclick', click);
  });
  return track;
}

function whenShown(work: () => void): void {
  if ((document as Document & { readonly prerendering?: boolean }).prerendering) on('prerenderingchange', work);
  else work();
}

/** Listens on its way down: events of the document as well, which do not bubble. */
function on<E>(names: string, listener: (event: E) => void): void {
  for (const name of names.split(' ')) addEventListener(name, listener as unknown as EventListener, true);
}
