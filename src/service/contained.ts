/**
 * Contained: what this container runs, by the command line of its first process. An image has one HEALTHCHECK for all
 * services, and `docker run` says which one with words that the health check does not get.
 */
import { readFileSync } from 'node:fs';

/**
 * The service, its role and its flags as process 1 has them; undefined when it runs none of these services: on a host,
 * or in a container that starts something else. An init that `docker run --init` puts first has the same words.
 */
export function containedCommand(services: readonly string[], file = '/proc/1/cmdline'): readonly string[] | undefined {
  const words = textOf(file).split('\0').slice(0, -1);
  const program = words.findIndex((word) => /(^|\/)(ringmain|main\.js)$/.test(word));
  if (program < 0) return undefined;
  const command = words.slice(program + 1);
  return services.includes(command[0] ?? '') ? command : undefined;
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Another user's process, or a system without /proc.
    return '';
  }
}
