/** Each message: what commands do to messages that are named by their ids, and say of those that they left. */
import { say } from '../../service/tool/output.ts';
import { AMOUNT_MAX } from '../money/ledger.ts';

/** Ids of one command. */
export const WORDS_MAX = 1000;
export const TOO_RICH = `balance and reservation of its customer would be beyond ${AMOUNT_MAX}: take money back first`;

export interface Sum {
  readonly done: number;
  readonly left: number;
}

/**
 * One by one, each id once, so that a balance is used up to its end. `act` returns null when it is done, else why the
 * message was left as it is, which is said.
 */
export async function eachMessage(ids: readonly string[], act: (id: string) => Promise<string | null>): Promise<Sum> {
  let [done, left] = [0, 0];
  for (const id of new Set(ids)) {
    const reason = await act(id);
    if (reason === null) done += 1;
    else {
      left += 1;
      say(`${id}: ${reason}`);
    }
  }
  return { done, left };
}
