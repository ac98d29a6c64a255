/** Tried: an act of a dialog whose refusal is said in it. */
import { isAbort } from './ask.ts';

/** Does `act`; what goes wrong stands in `problem` until the next one begins. A dialog that was closed says nothing. */
export async function tried(problem: HTMLElement, act: () => Promise<unknown>): Promise<void> {
  problem.textContent = '';
  try {
    await act();
  } catch (error) {
    if (!isAbort(error)) problem.textContent = (error as Error).message;
  }
}
