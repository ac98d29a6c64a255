/**
 * Questions: how an acceptor asks the database worker. Each area has a table of answers of its own; question and answer
 * are plain data.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { AcceptorFrame } from '../contract.ts';

export const DATABASE_WORKER = 'database';

export interface Question {
  /** Which table of answers: `admin`, `uploads`, `logs`. */
  readonly area: string;
  readonly what: string;
  readonly input: unknown;
}

/** The answers of an area. What they throw as a RingmainError that is shown reaches the client. */
export type Answers = Readonly<Record<string, (link: PostgresLink, input: never) => Promise<unknown>>>;

/** Questions of an area by name: what each is asked with, and what it is answered with. */
type Questions<Q> = { readonly [W in keyof Q]: { readonly input: unknown; readonly answer: unknown } };

/**
 * How acceptors ask a worker about an area. What they ask rejects with what the answer throws. `reads`: the questions
 * that change nothing.
 */
export const askerOf =
  <Q extends Questions<Q>>(worker: string, area: string, askMsMax: number, reads: readonly (keyof Q)[]) =>
  ({ ask }: Pick<AcceptorFrame, 'ask'>) =>
  <W extends keyof Q & string>(what: W, input: Q[W]['input']): Promise<Q[W]['answer']> => {
    const question: Question = { area, what, input };
    return ask(worker, question, askMsMax, reads.includes(what) ? 'reads' : 'changes') as Promise<Q[W]['answer']>;
  };
