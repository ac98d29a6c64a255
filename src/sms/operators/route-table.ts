/**
 * Route table: which operators carry a number, the best ones first.
 *
 *   longest prefix > lower cost > weight
 *
 * Operators that are equal by prefix and cost share messages by their weights (smooth weighted round robin). Where the
 * best are full or away, the next ones take over; so an operator with the prefix '+' stands in for all others.
 */
const DIGITS_MAX = 15;

interface Routed {
  readonly name: string;
  readonly given: { readonly prefixes: readonly string[]; readonly cost: number; readonly weight: number };
}

interface Member<T> {
  readonly operator: T;
  readonly weight: number;
  /** Of smooth weighted round robin: who has the most is next. */
  current: number;
}

/** Operators of equal rank. */
type Group<T> = readonly Member<T>[];

export class RouteTable<T extends Routed> {
  /** Groups by prefix, the cheapest first; a prefix has only the operators that name it. */
  readonly #byPrefix = new Map<string, readonly Group<T>[]>();
  readonly #lengthMax: number;

  constructor(operators: readonly T[]) {
    const prefixes = new Set(operators.flatMap(({ given }) => given.prefixes));
    for (const prefix of prefixes) {
      const carriers = operators.filter(({ given }) => given.prefixes.includes(prefix));
      const byCost = Map.groupBy(carriers, ({ given }) => given.cost);
      const groups = [...byCost].sort(([a], [b]) => a - b).flatMap(([, members]) => this.#ranks(members));
      this.#byPrefix.set(prefix, groups);
    }
    this.#lengthMax = Math.max(0, ...[...prefixes].map(({ length }) => length));
  }

  /** Those with weight 0 stand behind the others. */
  #ranks(operators: readonly T[]): readonly Group<T>[] {
    const members = operators.map((operator) => ({ operator, weight: operator.given.weight, current: 0 }));
    const [sharing, standby] = [
      members.filter(({ weight }) => weight > 0),
      members.filter(({ weight }) => weight === 0),
    ];
    return [sharing, ...standby.map((one) => [{ ...one, weight: 1 }])].filter((group) => group.length > 0);
  }

  /**
   * Offers operators in their order until one is taken. `usable` says whether an operator can take the message now.
   * Returns the operator, or whether any carries the number at all.
   */
  choose(to: string, usable: (operator: T) => boolean): T | 'none' | 'wait' {
    let carried = false;
    for (const group of this.#groupsOf(to)) {
      carried = true;
      const chosen = pick(group, usable);
      if (chosen !== undefined) return chosen;
    }
    return carried ? 'wait' : 'none';
  }

  /** Who is offered a message to this number first, while all are well: several where they share it by weight. */
  first(to: string): readonly T[] {
    for (const group of this.#groupsOf(to)) return group.map(({ operator }) => operator);
    return [];
  }

  /** Of the number, the best ones first. */
  *#groupsOf(to: string): Generator<Group<T>> {
    for (let length = Math.min(this.#lengthMax, to.length, DIGITS_MAX + 1); length > 0; length -= 1)
      yield* this.#byPrefix.get(to.slice(0, length)) ?? [];
  }
}

function pick<T>(group: Group<T>, usable: (operator: T) => boolean): T | undefined {
  if (group.length === 1) return usable(group[0]!.operator) ? group[0]!.operator : undefined;
  let best: Member<T> | undefined;
  let total = 0;
  for (const member of group) {
    if (!usable(member.operator)) continue;
    member.current += member.weight;
    total += member.weight;
    if (best === undefined || member.current > best.current) best = member;
  }
  if (best !== undefined) best.current -= total;
  return best?.operator;
}
