/**
 * Config: each option is declared once; parser, checks, help and documentation are made from the declaration.
 *
 *   export const engineConfig = defineConfig('engine', {
 *     ringBytes: bytes({ default: 16 * MiB, min: 64 * KiB, powerOfTwo: true, doc: 'Data bytes of each ring. ...' }),
 *   });
 *   export type EngineConfig = ConfigOf<typeof engineConfig>;              // { readonly ringBytes: number }
 *   const { values, warnings } = loadConfig([kernelConfig, engineConfig], { argv });   // values.engine.ringBytes
 *
 * config/kinds        what an option may be
 * config/set          declaration and names
 * config/load         flags > environment > env file > YAML file > default, all problems at once (exit 78)
 * config/arguments    flags, switches and words of the command line
 * config/envfile      the format of --env-file
 * config/yaml-file    the format of --config
 * config/reference    deploy/CONFIGURATION.md, .env.example, --help, --print-config
 * config/paths        whether a file or directory can be used
 * config/environment  the only reader of process.env
 */

export { formatEnvValue, parseEnvFile } from './config/envfile.ts';
export { environment, setEnvironment } from './config/environment.ts';
export {
  bool,
  bytes,
  duration,
  formatBytes,
  formatDuration,
  GiB,
  integer,
  KiB,
  list,
  MiB,
  number,
  type Option,
  oneOf,
  path,
  Refused,
  secret,
  structure,
  text,
} from './config/kinds.ts';
export { type Loaded, type LoadOptions, loadConfig } from './config/load.ts';
export { nearest } from './config/nearest.ts';
export { directoryProblem, existingFolder, readableFileProblem, writableFileProblem } from './config/paths.ts';
export {
  envExample,
  helpText,
  markdownReference,
  printConfig,
  referenceIsStale,
  renewReference,
} from './config/reference.ts';
export {
  type AllValues,
  type ConfigOf,
  type ConfigSet,
  defineConfig,
  envName,
  type Naming,
  withAliases,
  withDefaults,
  withoutOptions,
} from './config/set.ts';
