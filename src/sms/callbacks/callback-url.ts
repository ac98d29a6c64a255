/** URL of callbacks: what it must be when a message is accepted. Where it leads is checked when connecting. */
export const CALLBACK_URL_LENGTH_MAX = 2048;
/** Nothing that the parser of URLs would take away or make good: blanks, backslashes, missing slashes. */
export const CALLBACK_URL_PATTERN = String.raw`^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@\\]+(?:[/?][^\s#\\]*)?$`;
const SHAPE = new RegExp(CALLBACK_URL_PATTERN, 'u');

/** Why no callback may go to this URL; undefined: it may. */
export function callbackUrlProblem(text: string): string | undefined {
  const must = `an http or https URL without user, password and fragment, of at most ${CALLBACK_URL_LENGTH_MAX} characters`;
  if (text.length > CALLBACK_URL_LENGTH_MAX) return `callback_url must be ${must}: found=${text.length} characters`;
  return SHAPE.test(text) && URL.canParse(text) ? undefined : `callback_url must be ${must}`;
}
