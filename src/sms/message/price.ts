/**
 * Price: what a message costs, in the unit of COST_PER_SMS. The longest prefix of the number that has a price wins,
 * then the customer's own price, then COST_PER_SMS; COST_PER says whether that is for the message or for each segment.
 *
 * All are whole numbers, at most 10^9 times 255 segments: doubles hold such numbers and their sums over a group
 * exactly.
 */
export interface Tariff {
  readonly base: number;
  /** By the beginning of the number, without the plus; of all there are, at least those that its messages come under. */
  readonly prefixes: ReadonlyMap<string, number> | undefined;
}

export type CostPer = 'message' | 'segment';

/** `to`: E.164 with the plus. */
export function costOf(tariff: Tariff, to: string, segments: number, per: CostPer): number {
  const price = priceOf(tariff, to);
  return per === 'segment' ? price * segments : price;
}

function priceOf({ base, prefixes }: Tariff, to: string): number {
  if (prefixes === undefined) return base;
  for (let end = to.length; end > 1; end--) {
    const price = prefixes.get(to.slice(1, end));
    if (price !== undefined) return price;
  }
  return base;
}
