/** Key input: what services ask of a key that somebody makes. Both throw INPUT_REFUSED. */
import { serviceErrors } from '../errors.ts';

const NAME_MAX = 255;

export function mustBeKeyName(name: string): void {
  if (name.length > NAME_MAX || /\p{Cc}/u.test(name))
    throw serviceErrors.INPUT_REFUSED({
      reason: `name must be at most ${NAME_MAX} characters, none of them a control character`,
    });
}

/** RFC 3339 with its offset. */
const TIME = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)$/;

/** When the key ends; null: never. */
export function expiryIn(text: string | null | undefined): Date | null {
  if (text === undefined || text === null) return null;
  const at = TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at))
    throw serviceErrors.INPUT_REFUSED({ reason: `expires_at must be a time like 2027-01-31T00:00:00Z: found=${text}` });
  return new Date(at);
}
