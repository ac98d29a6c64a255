/**
 * Environment: the only file that touches `process.env` (test/architecture.test.ts holds it so). Whatever else needs a
 * variable declares an option; what is left are the two needs below.
 */

/** The environment this process was started with. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}

/** Sets a variable that a native addon reads with getenv. Main thread only, and before the addon is loaded. */
export function setEnvironment(name: string, value: string): void {
  process.env[name] = value;
}
