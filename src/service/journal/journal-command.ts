/**
 * Command `ringmain journal`: looks into a journal and sends parts of it again.
 *
 *   look.ts     ls, verify, cat
 *   replay.ts   replay
 *   drain.ts    drain
 *   forget.ts   forget
 *   journal.ts  the folder and the range that a command works on
 *
 * ls, verify, cat and replay only read, and work beside a running collector; forget and drain need it stopped.
 */
import { exitCodes } from '../../kernel/errors.ts';
import type { AnyService } from '../contract.ts';
import { withFaults } from '../tool/fault.ts';
import { askedOf, type Subcommand } from '../tool/subcommand.ts';
import { drain, drainHelp } from './drain.ts';
import { forget, forgetHelp } from './forget.ts';
import { JournalTool } from './journal.ts';
import { cat, catHelp, list, listHelp, verify, verifyHelp } from './look.ts';
import { replay, replayHelp } from './replay.ts';

interface Command extends Subcommand {
  run(tool: JournalTool): number | Promise<number>;
}

const commands = {
  ls: { ...listHelp, run: list },
  verify: { ...verifyHelp, run: verify },
  cat: { ...catHelp, run: cat },
  replay: { ...replayHelp, run: replay },
  forget: { ...forgetHelp, run: forget },
  drain: { ...drainHelp, run: drain },
} satisfies Record<string, Command>;

const ABOUT = `Looks into the journal in JOURNAL_DIR and sends parts of it again. ls, verify, cat and replay only read
and work beside a running collector; forget and drain need it stopped.`;

export async function runJournal(service: AnyService, argv: readonly string[]): Promise<number> {
  const asked = askedOf({ name: 'ringmain journal', about: ABOUT, commands }, argv);
  if ('ends' in asked) return asked.ends;
  const command: Command = commands[asked.command];
  return withFaults(async () => {
    const code = await command.run(new JournalTool(service, asked.rest, Object.keys(command.flags ?? {})));
    return code ?? exitCodes.ok;
  });
}
