/** Options of operators. */
import { type ConfigOf, defineConfig, structure } from '../../kernel/config.ts';
import { type GivenOperator, parseOperators, shownOperators } from './operator-option.ts';

export const operatorsConfig = defineConfig('operators', {
  operators: structure({
    default: [] as readonly GivenOperator[],
    yaml: 'operators',
    must: 'a list of {name, driver, url, ...}',
    parse: parseOperators,
    shown: shownOperators,
    doc:
      'Operators that carry messages, as JSON or as a list in the YAML file. Each has name (also the last part of the ' +
      'path of its receipts), driver (http, smpp), url, and may have prefixes (["+9891"]; without: every number), ' +
      'weight, cost, window (messages at once, of each process), tps (in a second, of each process), timeout_ms, ' +
      'sender, token or token_file; driver smpp also system_id, password or password_file, system_type, ' +
      'enquire_link_ms, receipt_id (same, hex, decimal). The longest prefix that fits goes first, then the lower cost; weights share what is equal. ' +
      'The role api needs it as the role worker does: it takes receipts with these tokens, refuses numbers that nobody carries, and its metrics name operators.',
  }),
});
export type OperatorsConfig = ConfigOf<typeof operatorsConfig>;
