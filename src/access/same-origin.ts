/**
 * Same origin: whether a request that changes something was made by a page of ours, by the headers that browsers set
 * and no script can. With SameSite=Lax cookies and a token in a header (token.ts) there are three guards against forged
 * requests (CSRF), each of which would do alone:
 *
 *   SameSite=Lax     a POST of a foreign page bears no session; but sibling subdomains are the same site, and old
 *                    browsers do not know it
 *   this             covers them, and the login itself, which has no session yet. Sec-Fetch-Site is the browser's own
 *                    verdict, also behind a proxy that rewrites Host; browsers without it send Origin with each POST
 *   token header     covers requests that bear neither, which are those of programs
 */
export interface Provenance {
  /** Header sec-fetch-site; '' for none. */
  readonly fetchSite: string;
  /** Header origin; '' for none. */
  readonly origin: string;
  /** Header host. */
  readonly host: string;
}

/** False: a page of another origin has made it. Neither header: no browser has. */
export function isSameOrigin({ fetchSite, origin, host }: Provenance): boolean {
  if (fetchSite !== '') return fetchSite === 'same-origin';
  if (origin === '') return true;
  const [, authority = ''] = /^https?:\/\/([^/?#@]+)$/i.exec(origin) ?? [];
  return authority !== '' && authority.toLowerCase() === host.toLowerCase();
}
