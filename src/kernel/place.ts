/**
 * Places: where something is that this process depends on, as messages for operators name it. A place is host:port, or
 * the path of a file; never a user, a password, or the path of an URL, which may hold a token.
 */

/** host:port as addresses are written; an IPv6 address stands in brackets. */
export function placeOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`;
}

/** What an error says, in one line. Several addresses of one name: node puts the reasons into `errors`. */
export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.message !== '') return error.message;
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(textOf).join('; ');
  return (error as NodeJS.ErrnoException).code ?? error.name;
}

/** The text of an error that names where it happened: one of `places` stands in front unless the text names one. */
export function reasonAt(error: unknown, places: readonly string[]): string {
  const text = textOf(error);
  const [first, ...more] = places;
  if (first === undefined || places.some((place) => text.includes(place))) return text;
  return `${first}${more.length > 0 ? ` and ${more.length} more` : ''}: ${text}`;
}
