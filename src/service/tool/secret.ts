/**
 * Secret: a password that a tool is given, never on the command line, where every user of the machine can read it. From
 * a terminal it is asked for without an echo; else it is the first line of standard input.
 */
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { errors } from '../../kernel/errors.ts';

/** Standard input; a test gives its own. */
export type ToolInput = Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };

const BYTES_MAX = 4096;
const INTERRUPT = '\u0003';
const END = '\u0004';
const ERASE = new Set(['\u007F', '\b']);

/** `prompt`: what the terminal shows. Throws USAGE when there is none, or it is too long. */
export async function readSecret(input: ToolInput, prompt: string): Promise<string> {
  const text = input.isTTY === true ? await typed(input, prompt) : await firstLine(input);
  if (text === '') throw errors.USAGE({ reason: 'a password must come from standard input or be typed: found=none' });
  return text;
}

/** Asks a second time on a terminal, where nobody sees what was typed. */
export async function readNewSecret(input: ToolInput, prompt: string): Promise<string> {
  const text = await readSecret(input, `${prompt}: `);
  if (input.isTTY === true && (await readSecret(input, `${prompt}, again: `)) !== text)
    throw errors.USAGE({ reason: 'both passwords must be the same' });
  return text;
}

async function firstLine(input: ToolInput): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of input) {
    const bytes = Buffer.from(chunk);
    chunks.push(bytes);
    size += bytes.length;
    if (bytes.includes(10) || size > BYTES_MAX) break;
  }
  if (size > BYTES_MAX) throw errors.USAGE({ reason: `a password must be at most ${BYTES_MAX} bytes: found=${size}` });
  return Buffer.concat(chunks).toString().split(/\r?\n/, 1)[0]!;
}

/** Reads keys in raw mode: the terminal shows nothing of them. */
async function typed(input: ToolInput, prompt: string): Promise<string> {
  process.stderr.write(prompt);
  input.setRawMode?.(true);
  const decoder = new StringDecoder();
  const text: string[] = [];
  let hear: (chunk: Buffer) => void = () => undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      hear = (chunk) => {
        for (const key of decoder.write(chunk)) {
          if (key === '\r' || key === '\n' || key === END) resolve();
          else if (key === INTERRUPT) reject(errors.USAGE({ reason: 'interrupted: nothing was changed' }));
          else if (ERASE.has(key)) text.pop();
          else if (text.length < BYTES_MAX) text.push(key);
        }
      };
      input.on('data', hear);
      // After pause() a listener alone lets nothing flow.
      input.resume();
      input.once('end', resolve);
    });
  } finally {
    input.off('data', hear);
    input.pause();
    input.setRawMode?.(false);
    process.stderr.write('\n');
  }
  return text.join('');
}
