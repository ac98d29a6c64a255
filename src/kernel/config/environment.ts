/**
 * Environment: the only file that touches `process.env`; test/architecture.test.ts enforces this. Code that needs a
 * variable declares an option. Two needs remain: reading all variables once, and setting one for a native addon.
 */

/** The environment this process was started with. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}

/** Sets a variable that a native addon reads with getenv. Main thread only, and before the addon is loaded. */
export function setEnvironment(name: string, value: string): void {
  process.env[name] = value;
}
