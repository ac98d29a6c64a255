/**
 * Command `ringmain doctor`: walks a configuration end to end and says what is wrong and what to do. It starts nothing
 * and changes nothing; only a file for timing the disk comes and goes.
 *
 *   exit   0  nothing to say   1  warnings   2  errors   64  the command line is not understood
 *          78  the configuration itself cannot be read
 */
import { errors, exitCodes, RingmainError } from '../../kernel/errors.ts';
import { error, type Finding, ok, type Severity } from '../../kernel/finding.ts';
import { examineSink } from '../../sinks/registry.ts';
import type { KafkaConnectionConfig } from '../../store/kafka/config.ts';
import { type Configured, configure, rolesIn } from '../configured.ts';
import type { AnyService } from '../contract.ts';
import { effectiveAcceptors } from '../effective.ts';
import type { FileNeeds } from '../open-files.ts';
import { pathProblems } from '../paths.ts';
import { listeningOf } from '../seat.ts';
import { workersOf } from '../threads.ts';
import { examineFront } from './front.ts';
import { examineJournal, examineMachine } from './machine.ts';

const USAGE = `ringmain doctor [--service=NAME] [--json] [--option=value ...]

Checks the configuration of a service end to end: DNS, TLS, credentials, topics, tables and permissions, clocks,
disk, memory, open files, proxies, CORS and cookies. It reads the options as the service does (flags, environment,
--env-file, --config), reports what is wrong and how to fix it, and changes nothing.

    --json   one JSON object per line instead of text

exit codes
    ${exitCodes.ok}    all is well
    ${exitCodes.failed}    warnings
    ${exitCodes.severe}    errors
    ${exitCodes.usage}   the command line is not understood
    ${exitCodes.config}   the configuration cannot be read

example
    ringmain doctor --env-file=/etc/ringmain/ringmain.env
`;

const marks: Readonly<Record<Severity, string>> = { ok: 'ok', note: 'note', warning: 'WARNING', error: 'ERROR' };
const colours: Readonly<Record<Severity, number>> = { ok: 32, note: 36, warning: 33, error: 31 };

interface Section {
  readonly title: string;
  findings(): AsyncIterable<Finding> | Iterable<Finding>;
}

export async function runDoctor(service: AnyService, argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) {
    process.stdout.write(USAGE);
    return exitCodes.ok;
  }
  const configured = configure(service, service.together ?? Object.keys(service.roles), { argv, switches: ['json'] });
  const { loaded } = configured;
  if (loaded.words.length > 0) throw errors.USAGE({ reason: `options begin with --: found=${loaded.words.join(' ')}` });
  const json = loaded.switches.has('json');
  const counts: Record<Severity, number> = { ok: 0, note: 0, warning: 0, error: 0 };
  for (const { title, findings } of sections(configured)) {
    if (!json) process.stdout.write(`${title}\n`);
    for await (const finding of guarded(findings)) {
      counts[finding.severity] += 1;
      process.stdout.write(json ? `${JSON.stringify({ section: title, ...finding })}\n` : shown(finding));
    }
  }
  if (!json) process.stdout.write(`\n${plural(counts.error, 'error')}, ${plural(counts.warning, 'warning')}\n`);
  if (counts.error > 0) return exitCodes.severe;
  return counts.warning > 0 ? exitCodes.failed : exitCodes.ok;
}

function sections(configured: Configured): readonly Section[] {
  const { values, outputs, loaded } = configured;
  const roles = rolesIn(configured);
  return [
    { title: 'configuration', findings: () => examineConfiguration(configured) },
    { title: 'machine', findings: () => examineMachine(values, fileNeeds(configured)) },
    { title: 'journal', findings: () => examineJournal(values) },
    { title: 'front', findings: () => examineFront(values, listeningOf(roles, values), loaded.named) },
    ...roles
      .filter(({ examine, inquire }) => examine !== undefined || inquire !== undefined)
      .map(({ name, examine, inquire }) => ({
        title: roles.length === 1 ? configured.service.name : name,
        findings: async function* () {
          if (examine !== undefined) yield* examine(values);
          if (inquire !== undefined) yield* inquire(values, loaded.named);
        },
      })),
    ...outputs
      .filter(({ inquired, source }) => !inquired || source !== undefined)
      .map(({ name, kind, config, load, topicAdvice, inquired, source, sourceConfig }) => ({
        title: `output ${name}`,
        findings: async function* () {
          const { named } = loaded;
          if (source !== undefined) {
            const { examineReading } = await import('../../store/kafka/examine.ts');
            yield* examineReading(sourceConfig as unknown as KafkaConnectionConfig, source, named('KAFKA_BROKERS'));
          }
          if (inquired) return;
          yield* await examineSink(kind, config as never, { ownTable: load === undefined, topicAdvice, named });
        },
      })),
  ];
}

/** The threads of a start with these options. */
function fileNeeds(configured: Configured): FileNeeds {
  const { values, outputs, loaded } = configured;
  const roles = rolesIn(configured);
  const jobs = roles.flatMap((role) => role.jobs?.names ?? []);
  const workers = roles.flatMap((role) => workersOf(role, jobs, configured));
  const acceptors = effectiveAcceptors(values);
  const keeper = 1;
  return {
    wanted: values.http.maxConnections,
    set: loaded.sources.has('MAX_CONNECTIONS'),
    acceptors,
    threads: keeper + outputs.length + workers.reduce((sum, { spec }) => sum + (spec.count ?? 1), 0) + acceptors,
    outputs: outputs.length,
  };
}

function* examineConfiguration(configured: Configured): Generator<Finding> {
  const { loaded, values } = configured;
  yield ok(`${loaded.sources.size} options are set; the others are at their defaults`);
  for (const text of loaded.warnings) yield { severity: 'warning', text, advice: 'Correct the name or remove it.' };
  const problems = [
    ...pathProblems(configured),
    ...rolesIn(configured).flatMap((role) => role.problems?.(values, configured.roles) ?? []),
  ];
  for (const text of problems) yield error(text, 'Ringmain will not start until this is fixed.');
}

/** What fails in an unforeseen way is a finding as well: the other sections still have something to say. */
async function* guarded(findings: Section['findings']): AsyncGenerator<Finding> {
  try {
    yield* findings();
  } catch (cause) {
    const text = cause instanceof RingmainError ? cause.message : String((cause as Error)?.stack ?? cause);
    yield error(text, 'Fix what is named above; a stack trace is a bug in Ringmain, please report it.');
  }
}

function shown({ severity, text, advice }: Finding): string {
  const mark = marks[severity].padEnd(8);
  const coloured = process.stdout.isTTY ? `\u001B[${colours[severity]}m${mark}\u001B[0m` : mark;
  return `  ${coloured} ${text}\n${advice === undefined ? '' : `           ${advice}\n`}`;
}

const plural = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;
