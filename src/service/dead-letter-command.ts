/**
 * Command `ringmain deadletter`: events that a target refused for good.
 *
 *   ringmain deadletter ls [sink]       what lies there, file by file, and why
 *   ringmain deadletter replay <sink>   sends what is pending to the sink again; the collector may run meanwhile
 *
 * Options are the collector's own (DEAD_LETTER_DIR, PG_DSN, KAFKA_BROKERS, ...), from the environment, --env-file or
 * flags.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ReplayEnded, replay, type Summary, summarize } from '../delivery/dead-letter-replay.ts';
import { deliveryErrors } from '../delivery/errors.ts';
import { nearest } from '../kernel/config.ts';
import { errors, exitCodes } from '../kernel/errors.ts';
import { createLog, logTarget } from '../kernel/log.ts';
import { loadSink } from '../sinks/registry.ts';
import { type Configured, type ConfiguredOutput, configure, possibleOutputs } from './configured.ts';
import type { AnyService } from './contract.ts';
import { faultOf, withFaults } from './tool/fault.ts';
import { Interrupt } from './tool/interrupt.ts';
import { Progress } from './tool/progress.ts';
import { askedOf, type Subcommand, type ToolHelp } from './tool/subcommand.ts';
import { adviceOn, mustBeConfigured, placeOf } from './tool/target.ts';

const REASONS_SHOWN = 5;
/** What is under way when the end is asked for has so long. */
const GRACE_MS = 1000;

const commands = {
  ls: {
    takes: '[SINK]',
    summary: 'lists the letters in DEAD_LETTER_DIR, and why they are there',
    about: `Lists the dead letters of one sink, or of all: for each file the number of letters, how many of them are
still pending, the times of the first and the last one, and the most frequent reasons.`,
    exits: { [exitCodes.ok]: 'listed' },
    example: 'ringmain deadletter ls kafka',
  },
  replay: {
    takes: 'SINK',
    summary: 'sends pending letters to their sink again',
    about: `Sends the pending letters of a sink to it again, once the cause of the rejection is fixed. It may run beside
the collector, and may be stopped or killed at any time: the next replay continues there. A letter that is
rejected again stays pending.`,
    exits: {
      [exitCodes.ok]: 'every pending letter is delivered',
      [exitCodes.failed]:
        'letters were rejected again, none was pending, or the sink needs an operator (credentials, a missing table)',
      [exitCodes.temporary]: 'the sink is down, or another replay to it is running',
      130: 'interrupted by Ctrl-C (143: by SIGTERM)',
    },
    example: 'ringmain deadletter replay postgres --env-file=/etc/ringmain/ringmain.env',
  },
} satisfies Record<string, Subcommand>;

const tool: ToolHelp & { readonly commands: typeof commands } = {
  name: 'ringmain deadletter',
  about: 'Shows the events that a sink rejected for good, and sends them again once the cause is fixed.',
  commands,
};

export async function runDeadLetter(service: AnyService, argv: readonly string[]): Promise<number> {
  const asked = askedOf(tool, argv);
  if ('ends' in asked) return asked.ends;
  const configured = configure(service, Object.keys(service.roles), { argv: asked.rest });
  const { deadLetterDir } = configured.values.sinks;
  const output = outputOf(configured);
  return withFaults(async () => {
    if (asked.command === 'replay') return replayTo(output, configured);
    const summaries = summarize(deadLetterDir, output?.name);
    process.stdout.write(summaries.length === 0 ? `no dead letters in ${deadLetterDir}\n` : listing(summaries));
    return exitCodes.ok;
  });
}

/** The output that the words name; undefined: none is named. */
function outputOf(configured: Configured): ConfiguredOutput | undefined {
  const [name, ...more] = configured.loaded.words;
  const outputs = possibleOutputs(configured);
  const output = outputs.find((known) => known.name === name);
  if (more.length === 0 && (name === undefined || output !== undefined)) return output;
  const names = outputs.map((known) => known.name);
  const near = output === undefined && name !== undefined ? nearest(name, names) : undefined;
  throw errors.USAGE({
    reason:
      `a sink must be one of ${names.join(', ')}: found=${configured.loaded.words.join(' ')}` +
      (near === undefined ? '' : `, did you mean ${near}?`),
  });
}

async function replayTo(output: ConfiguredOutput | undefined, configured: Configured): Promise<number> {
  // Who replays into the file sink would write to a file that a running collector holds and cuts.
  if (output === undefined || output.kind === 'log')
    throw errors.USAGE({ reason: `replay needs a sink other than log: found=${output?.name ?? 'none'}` });
  mustBeConfigured(output, configured);
  const { values } = configured;
  const { name: sink, config, load } = output;
  const { deadLetterDir: directory } = values.sinks;
  const kind = await loadSink(output.kind);
  const end = new AbortController();
  const log = createLog({ ...logTarget(values.kernel, 2), name: 'deadletter' });
  const progress = new Progress(`replay to ${sink}`, pendingOf(directory, sink), 'events');
  const interrupt = new Interrupt();
  const interrupted = Promise.withResolvers<undefined>();
  interrupt.signal.addEventListener('abort', () => {
    void delay(GRACE_MS).then(() => interrupted.resolve(undefined));
  });
  let sent = 0;
  const open = async (source: string) => {
    const target = await kind.open(config as never, {
      name: sink,
      logId: source,
      ...(load === undefined ? {} : { load: { module: load, values } }),
      journal: false,
      state: undefined,
      log,
      signal: end.signal,
      ended: () => end.signal.aborted,
    });
    const write = target.write.bind(target);
    target.write = async (batch, previous) => {
      if (interrupt.wanted) {
        // The outcome of the request before this one is on disk: a good place to end at once.
        interrupted.resolve(undefined);
        await new Promise<never>(() => undefined);
      }
      await write(batch, previous);
      sent += batch.count;
      progress.at(sent);
    };
    return target;
  };
  try {
    const work = replay({ directory, sink, open, classify: (error) => kind.classify(error) });
    const done = await Promise.race([work, interrupted.promise]);
    progress.clear();
    if (done === undefined) {
      process.stderr.write(`the replay was interrupted after ${sent} letters; the next one continues there\n`);
      return interrupt.exit;
    }
    const { delivered, refused } = done;
    // Who replays expects letters: a mistyped folder must not look like a success.
    if (delivered + refused === 0) {
      process.stderr.write(`nothing to replay: no letter of ${sink} is pending in ${directory}\n`);
      return exitCodes.failed;
    }
    process.stdout.write(`${delivered} delivered, ${refused} rejected again\n`);
    return refused === 0 ? exitCodes.ok : exitCodes.failed;
  } catch (error) {
    progress.clear();
    if (!(error instanceof ReplayEnded)) throw error;
    const cause = faultOf(error.cause);
    if (cause !== error.cause) throw cause;
    const ended = error.temporary ? deliveryErrors.REPLAY_ENDED : deliveryErrors.REPLAY_STOPPED;
    const reason = `${placeOf(output)}: ${error.message}; ${adviceOn(error.cause, error.temporary)}`;
    throw ended({ sink, delivered: error.replayed.delivered, reason });
  } finally {
    end.abort();
    interrupt.close();
  }
}

const pendingOf = (directory: string, sink: string): number =>
  summarize(directory, sink).reduce((sum, { pending }) => sum + pending, 0);

function listing(summaries: readonly Summary[]): string {
  return summaries
    .flatMap(({ path, letters, pending, unreadable, firstTime, lastTime, reasons }) => [
      `${path}: ${letters} letters, ${pending} pending${unreadable > 0 ? `, ${unreadable} unreadable lines` : ''}` +
        (firstTime === undefined ? '' : `, ${firstTime} to ${lastTime}`),
      ...reasons.slice(0, REASONS_SHOWN).map(([reason, count]) => `  ${count} x ${reason}`),
      ...(reasons.length > REASONS_SHOWN ? [`  and ${reasons.length - REASONS_SHOWN} other reasons`] : []),
    ])
    .map((line) => `${line}\n`)
    .join('');
}
