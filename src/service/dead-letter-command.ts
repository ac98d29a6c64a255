/**
 * Command `ringmain deadletter`: events that a target refused for good.
 *
 *   ringmain deadletter ls [sink]       what lies there, file by file, and why
 *   ringmain deadletter replay <sink>   sends what is pending to the sink again; the collector may run meanwhile
 *
 * Options are the collector's own (DEAD_LETTER_DIR, PG_DSN, KAFKA_BROKERS, ...), from the environment, --env-file or
 * flags.
 */

import { ReplayEnded, replay, type Summary, summarize } from '../delivery/dead-letter-replay.ts';
import { deliveryErrors } from '../delivery/errors.ts';
import { helpText } from '../kernel/config.ts';
import { errors, exitCodes } from '../kernel/errors.ts';
import { createLog, type LogTarget, logTarget } from '../kernel/log.ts';
import { loadSink } from '../sinks/registry.ts';
import { type ConfiguredOutput, configure, possibleOutputs, setsOf } from './configured.ts';
import type { AnyService } from './contract.ts';

const USAGE = `ringmain deadletter ls [sink]       what lies in DEAD_LETTER_DIR, and why
ringmain deadletter replay <sink>   send what is pending to its sink again`;
/** Rooms whose options this tool does not read. */
const frameRooms: ReadonlySet<string> = new Set(['http', 'collect', 'visitor', 'engine', 'service', 'tracing']);
const REASONS_SHOWN = 5;

export async function runDeadLetter(service: AnyService, argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) {
    process.stdout.write(`${USAGE}\n\n${helpText(setsOf(service).filter(({ room }) => !frameRooms.has(room)))}\n`);
    return exitCodes.ok;
  }
  const configured = configure(service, Object.keys(service.roles), { argv });
  const { sinks, kernel } = configured.values;
  const outputs = possibleOutputs(configured);
  const { words } = configured.loaded;
  const [action, name, ...more] = words;
  const output = outputs.find((known) => known.name === name);
  if (more.length > 0 || (name !== undefined && output === undefined)) {
    const names = outputs.map((known) => known.name).join(', ');
    throw errors.USAGE({ reason: `a sink must be one of ${names}: found=${words.slice(1).join(' ')}` });
  }
  if (action === 'ls') {
    process.stdout.write(listing(summarize(sinks.deadLetterDir, output?.name)));
    return exitCodes.ok;
  }
  if (action !== 'replay')
    throw errors.USAGE({ reason: `the command must be ls or replay: found=${action}\n\n${USAGE}` });
  // Who replays into the file sink would write to a file that a running collector holds and cuts.
  if (output === undefined || output.kind === 'log') {
    throw errors.USAGE({ reason: `replay needs a sink other than log: found=${name ?? 'none'}\n\n${USAGE}` });
  }
  return replayTo(output, sinks.deadLetterDir, logTarget(kernel, 2), configured.values);
}

async function replayTo(
  output: ConfiguredOutput,
  directory: string,
  target: LogTarget,
  values: unknown,
): Promise<number> {
  const { name: sink, config, load } = output;
  const kind = await loadSink(output.kind);
  const end = new AbortController();
  const log = createLog({ ...target, name: 'deadletter' });
  const open = (source: string) =>
    kind.open(config as never, {
      name: sink,
      logId: source,
      ...(load === undefined ? {} : { load: { module: load, values } }),
      journal: false,
      state: undefined,
      log,
      signal: end.signal,
      ended: () => end.signal.aborted,
    });
  try {
    const { delivered, refused } = await replay({ directory, sink, open, classify: (error) => kind.classify(error) });
    const nothing = delivered + refused === 0;
    process.stdout.write(
      nothing
        ? `nothing to replay: no letter of ${sink} is pending in ${directory}\n`
        : `${delivered} delivered, ${refused} refused again\n`,
    );
    return exitCodes.ok;
  } catch (error) {
    if (!(error instanceof ReplayEnded)) throw error;
    const ended = error.temporary ? deliveryErrors.REPLAY_ENDED : deliveryErrors.REPLAY_STOPPED;
    throw ended({ sink, delivered: error.replayed.delivered, reason: error.message }, error);
  } finally {
    end.abort();
  }
}

function listing(summaries: readonly Summary[]): string {
  if (summaries.length === 0) return 'no dead letters\n';
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
