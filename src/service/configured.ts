/**
 * Configured: a service with the roles of one process and the values of its options. Main makes it from the command
 * line; it is what the process, the tools (journal, deadletter, migrate) and the reference of the options start from.
 */
import { engineConfig } from '../engine/config.ts';
import { httpConfig } from '../http/config.ts';
import {
  type ConfigSet,
  type Loaded,
  type LoadOptions,
  loadConfig,
  type Naming,
  withAliases,
  withDefaults,
  withoutOptions,
} from '../kernel/config.ts';
import { errors } from '../kernel/errors.ts';
import { kernelConfig } from '../kernel/log.ts';
import { tracingConfig } from '../kernel/tracing.ts';
import { sinkConfigs, sinkKinds } from '../sinks/registry.ts';
import { outputsConfig, serviceConfig } from './config.ts';
import type { AnyService, KafkaSourceOptions, Output, Role } from './contract.ts';
import type { FrameValues } from './values.ts';

/** An output with its values; plain data that goes to the output's thread. */
export interface ConfiguredOutput {
  readonly name: string;
  readonly kind: Output<never>['kind'];
  /** Values of the kind's options, with those that this output has otherwise. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly records: readonly number[] | undefined;
  /** Address of the module that loads a batch. */
  readonly load: string | undefined;
  /** A record that comes again counts twice. */
  readonly counts: boolean;
  /** What to do about a topic that is missing; undefined: what the kind says. */
  readonly topicAdvice: string | undefined;
  /** Its role asks the target for the doctor. */
  readonly inquired: boolean;
  /** Most MiB of its thread's young generation; undefined: the default. */
  readonly youngMiB: number | undefined;
  /** Most MiB of its old generation; undefined: the default. */
  readonly oldMiB: number | undefined;
  /** Undefined: the lanes of this process. */
  readonly source: KafkaSourceOptions | undefined;
  /** Values of the options of Kafka, when the source is a topic. */
  readonly sourceConfig: Readonly<Record<string, unknown>> | undefined;
}

export interface Configured {
  readonly service: AnyService;
  /** Names of the roles that this process runs. */
  readonly roles: readonly string[];
  readonly values: FrameValues;
  /** The outputs of OUTPUTS, those that read lanes first: their index is the reader of the rings. */
  readonly outputs: readonly ConfiguredOutput[];
  readonly loaded: Loaded<readonly ConfigSet[], string>;
  readonly sets: readonly ConfigSet[];
}

const rolesOf = (service: AnyService, names: readonly string[]): readonly Role[] =>
  names.map((name) => {
    const role = service.roles[name];
    if (role === undefined)
      throw new TypeError(`a service has the role that it runs: service=${service.name}, role=${name}`);
    return role as Role;
  });

const allOutputs = (roles: readonly Role[]): readonly Output<FrameValues>[] =>
  roles.flatMap((role) => role.outputs ?? []);

const conditionsOf = (outputs: readonly Output<FrameValues>[]): readonly string[] =>
  outputs.flatMap(({ name, when }) => (when === undefined ? [] : [`${name} exists only ${when.text}.`]));

/** All options of a process with these roles, in the order of the reference. */
export function setsOf(
  service: AnyService,
  roleNames: readonly string[] = Object.keys(service.roles),
): readonly ConfigSet[] {
  const roles = rolesOf(service, roleNames);
  const outputs = allOutputs(roles);
  const names = [...new Set(outputs.map(({ name }) => name))];
  const defaults = [
    ...new Set(roles.flatMap((role) => role.defaultOutputs ?? role.outputs?.map(({ name }) => name) ?? [])),
  ];
  const kinds = sinkKinds.filter((kind) =>
    outputs.some((output) => output.kind === kind || (kind === 'kafka' && output.source)),
  );
  const sets = [
    httpConfig,
    ...service.config,
    engineConfig,
    serviceConfig,
    ...(names.length > 0 ? [outputsConfig(names, defaults, conditionsOf(outputs))] : []),
    ...kinds.map((kind) => sinkConfigs[kind]).filter((set) => !service.config.includes(set)),
    tracingConfig,
    kernelConfig,
  ] as readonly ConfigSet[];
  const own = roles.length === 1 ? roles[0]!.defaults : undefined;
  return withDefaults(withAliases(withoutOptions(sets, service.without ?? []), service.aliases ?? {}), {
    ...service.defaults,
    ...own,
  });
}

/** Reads the options. Throws errors.CONFIG, one line per problem. */
export function configure(service: AnyService, roles: readonly string[], options: LoadOptions<string>): Configured {
  const sets = setsOf(service, roles);
  // An environment may be that of several services, as the image's is: an option of a sink that this one lacks is no
  // typo.
  const elsewhere = new Map([...Object.values(sinkConfigs), ...setsOf(service)].map((set) => [set.room, set] as const));
  const others = [...elsewhere.values()].filter((set) => !sets.some(({ room }) => room === set.room));
  const derive: LoadOptions['derive'] = (values) => service.derive?.(values as never, roles) ?? {};
  const loaded = loadConfig(sets, { others, derive, ...options }) as Loaded<readonly ConfigSet[], string>;
  const read = { sinks: NO_OUTPUTS, ...loaded.values } as unknown as FrameValues;
  const problems: string[] = [];
  const named = allOutputs(rolesOf(service, roles)).filter(({ name }) => read.sinks.outputs.includes(name));
  const chosen = named.filter((output) => exists(output, read));
  // Who names an output wants it; the default names those that may be.
  if (loaded.sources.has('OUTPUTS'))
    for (const { name, when } of named.filter((output) => !chosen.includes(output)))
      problems.push(`OUTPUTS may name ${name} only ${when!.text}`);
  const running = read.sinks.outputs.filter(
    (word) => !named.some(({ name }) => name === word && !chosen.some((one) => one.name === name)),
  );
  const sinks = { ...read.sinks, outputs: running };
  const values: FrameValues = { ...read, sinks };
  const outputs = chosen
    .map((output) => configured(output, values, loaded.named, problems))
    .sort((a, b) => Number(a.source !== undefined) - Number(b.source !== undefined));
  problems.push(...sharedFiles(outputs));
  if (problems.length > 0) throw errors.CONFIG({ problems });
  return { service, roles, values, outputs, loaded, sets };
}

const exists = ({ when }: Output<FrameValues>, values: FrameValues): boolean => when?.holds(values) ?? true;

const NO_OUTPUTS = {
  outputs: [],
  deadLetterDir: '',
  sinkStart: 'earliest',
  sinkKeep: [],
  maxLagBytes: 0,
  onLag: 'refuse',
};

function configured(
  output: Output<FrameValues>,
  values: FrameValues,
  named: Naming,
  problems: string[],
): ConfiguredOutput {
  const all = values as unknown as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  const set = sinkConfigs[output.kind];
  const own = output.options?.(values) ?? {};
  const strange = Object.keys(own).find((key) => !Object.hasOwn(set.options, key));
  if (strange !== undefined)
    throw new TypeError(`an output changes options that its kind has: output=${output.name}, option=${strange}`);
  const config = { ...all[set.room], ...own };
  // loadConfig() has checked the outputs that are called like their kind and change nothing.
  if (output.options !== undefined || output.name !== output.kind) {
    const seen = { ...all, sinks: { ...all['sinks'], outputs: [output.kind] } };
    problems.push(...set.check(config as never, seen, named).map((problem) => `output ${output.name}: ${problem}`));
  }
  const source = output.source?.(values);
  return {
    name: output.name,
    kind: output.kind,
    config,
    records: output.records,
    load: output.load?.href,
    counts: output.counts === true,
    topicAdvice: output.topicAdvice?.(named),
    inquired: output.inquired === true,
    youngMiB: output.youngMiB,
    oldMiB: output.oldMiB,
    source,
    sourceConfig: source === undefined ? undefined : all[sinkConfigs.kafka.room],
  };
}

/** Two outputs that write to one file would cut each other's lines. */
function sharedFiles(outputs: readonly ConfiguredOutput[]): readonly string[] {
  const files = outputs
    .filter(({ kind }) => kind === 'log')
    .map(({ name, config }) => ({ name, path: config['logPath'] }));
  return files.flatMap(({ name, path }, i) => {
    const other = files.slice(0, i).find((file) => file.path === path);
    return other === undefined
      ? []
      : [`outputs must write to files of their own: found=${path}, outputs=${other.name}, ${name}`];
  });
}

/** The outputs that the roles could have, whatever OUTPUTS says: what tools may name. */
export function possibleOutputs({ service, roles, values, loaded }: Configured): readonly ConfiguredOutput[] {
  const problems: string[] = [];
  const outputs = allOutputs(rolesOf(service, roles))
    .filter((output) => exists(output, values))
    .map((output) => configured(output, values, loaded.named, problems));
  if (problems.length > 0) throw errors.CONFIG({ problems });
  return outputs;
}

/** Outputs that read the lanes of this process. */
export const laneOutputs = (outputs: readonly ConfiguredOutput[]): readonly ConfiguredOutput[] =>
  outputs.filter(({ source }) => source === undefined);

export const rolesIn = ({
  service,
  roles,
}: Pick<Configured, 'service' | 'roles'>): readonly (Role & { readonly name: string })[] =>
  rolesOf(service, roles).map((role, i) => ({ ...role, name: roles[i]! }));
