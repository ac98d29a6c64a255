/** Command `ringmain journal forget`: a sink that will not come back holds no segments any more. */
import { rmSync } from 'node:fs';
import { checkpointPath, listSinks, lockJournal } from '../../engine/journal.ts';
import { nearest } from '../../kernel/config.ts';
import { errors, exitCodes } from '../../kernel/errors.ts';
import type { Subcommand } from '../tool/subcommand.ts';
import type { JournalTool } from './journal.ts';

export const forgetHelp: Subcommand = {
  takes: 'NAME',
  summary: 'removes a sink that will not be used again',
  about: `Removes the checkpoint of a sink that will not come back. The next start deletes the segments that only
this sink still needed; events it had not received are lost to it. The collector must be stopped.`,
  exits: { [exitCodes.ok]: 'forgotten', [exitCodes.temporary]: 'a collector is running on this journal' },
  example: 'ringmain journal forget kafka',
};

export function forget(tool: JournalTool): number {
  const { dir } = tool.open();
  const [name, ...more] = tool.words;
  const known = listSinks(dir);
  if (name === undefined || more.length > 0 || !known.includes(name)) {
    const near = name === undefined ? undefined : nearest(name, known);
    throw errors.USAGE({
      reason:
        `forget must name one sink of this journal: found=${tool.words.join(' ') || 'none'}, ` +
        `sinks=${known.join(', ') || 'none'}${near === undefined ? '' : `, did you mean ${near}?`}`,
    });
  }
  const lock = lockJournal(dir);
  try {
    rmSync(checkpointPath(dir, name));
  } finally {
    lock.release();
  }
  process.stdout.write(
    `${name} is forgotten. If it is started on this journal again, SINK_START says where it begins.\n`,
  );
  return exitCodes.ok;
}
