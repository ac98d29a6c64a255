/** Runs the toy as main.ts runs a service: `node run.ts [role] [subcommand]`, `node run.ts migrate up`. */
import { exitCodeOf, explain } from '../../../src/kernel/errors.ts';
import { runService } from '../../../src/service/command.ts';
import { runMigrateTool } from '../../../src/service/migrate.ts';
import toy from './toy.ts';

const [first, ...rest] = process.argv.slice(2);
try {
  process.exit(await (first === 'migrate' ? runMigrateTool(toy, rest) : runService(toy, process.argv.slice(2))));
} catch (error) {
  for (const line of explain(error)) process.stderr.write(`${line}\n`);
  process.exit(exitCodeOf(error));
}
