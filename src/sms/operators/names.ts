/** Names of operators as labels of metrics: those of OPERATORS in their order; where there are none, 'none'. */
import type { OperatorsConfig } from './config.ts';
import { RouteTable } from './route-table.ts';

type Values = { readonly operators: OperatorsConfig };

export function operatorNames({ operators }: Values): readonly string[] {
  const names = operators.operators.map(({ name }) => name);
  return names.length === 0 ? ['none'] : names;
}

/** What carrierOf() may say. */
export const carrierNames = (values: Values): readonly string[] => [
  ...new Set([...operatorNames(values), 'several', 'none']),
];

/**
 * The operator that the routes offer a number to first, as long as it is well. several: more than one share it by their
 * weights. none: OPERATORS, as this process has it, names no operator of its prefix.
 */
export function carrierOf({ operators }: Values): (to: string) => string {
  const table = new RouteTable(operators.operators.map((given) => ({ name: given.name, given })));
  return (to) => {
    const [first, ...more] = table.first(to);
    return first === undefined ? 'none' : more.length > 0 ? 'several' : first.name;
  };
}
