/**
 * Accept, as far as imgproxy looks at it (clientfeatures/detector.go): which modern formats a client takes. All headers
 * that say the same come to one text, which the backend gets and the cache goes by.
 */
export interface Formats {
  readonly index: number;
  readonly accept: string;
}

const names = ['image/webp', 'image/avif', 'image/jxl'] as const;
const all: readonly Formats[] = Array.from({ length: 1 << names.length }, (_, index) => ({
  index,
  accept: [...names.filter((_name, bit) => (index & (1 << bit)) !== 0), '*/*'].join(','),
}));

export function formatsOf(accept: string): Formats {
  let index = 0;
  for (let bit = 0; bit < names.length; bit++) if (accept.includes(names[bit]!)) index |= 1 << bit;
  return all[index]!;
}
