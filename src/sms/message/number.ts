/**
 * Number: a phone number in E.164, `+` and 8 to 15 digits, judged by libphonenumber-js (metadata `min`: lengths and
 * patterns of all countries).
 *
 * Fast path: of a calling code that one country has alone, the pattern of its national numbers says enough: 0.2 us. The
 * library, 5 us, is asked about the rest: codes of several countries (+1, +7, +44), numbers that begin like the prefix
 * that a country dials at home, and all that the pattern does not take.
 */
import metadata from 'libphonenumber-js/metadata.min';
import { parsePhoneNumberFromString } from 'libphonenumber-js/min';

/** What every number in E.164 looks like; the library is not asked about others. */
const SHAPE = /^\+[1-9]\d{7,14}$/;
const CODE_DIGITS_MAX = 3;

interface Plan {
  readonly national: RegExp;
  /** What stands before a number at home; '': nothing does. */
  readonly prefix: string;
}

/**
 * Members of a country in the metadata (its serialize.js): code, IDD prefix, pattern, lengths, formats, national prefix,
 * how it is written, and the pattern of what is taken off when a number is read.
 */
const PATTERN = 2;
const NATIONAL_PREFIX = 5;
const PREFIX_PATTERN = 7;
type Country = readonly unknown[];

/** By calling code: undefined where the library must be asked. */
const plans: ReadonlyMap<string, Plan> = new Map(
  Object.entries(metadata.country_calling_codes as Readonly<Record<string, readonly string[]>>).flatMap(
    ([code, countries]): [string, Plan][] => {
      const country = (metadata.countries as unknown as Readonly<Record<string, Country>>)[countries[0]!]!;
      if (countries.length > 1 || country[PREFIX_PATTERN]) return [];
      const national = new RegExp(`^(?:${String(country[PATTERN])})$`);
      return [[code, { national, prefix: String(country[NATIONAL_PREFIX] || '') }]];
    },
  ),
);

/** Whether the text is a number in E.164 that may exist. */
export function isNumber(text: string): boolean {
  return SHAPE.test(text) && (fitsPlan(text) || isNumberByLibrary(text));
}

/** No calling code is the beginning of another. */
function fitsPlan(text: string): boolean {
  for (let end = 2; end <= 1 + CODE_DIGITS_MAX; end++) {
    const plan = plans.get(text.slice(1, end));
    if (plan === undefined) continue;
    const digits = text.slice(end);
    return (plan.prefix === '' || !digits.startsWith(plan.prefix)) && plan.national.test(digits);
  }
  return false;
}

/** What the library says. */
export function isNumberByLibrary(text: string): boolean {
  const parsed = parsePhoneNumberFromString(text);
  return parsed?.isValid() === true && parsed.number === text;
}
