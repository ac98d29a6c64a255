/**
 * What an SMSC says to a bind, for the doctor. It binds as a transmitter, because receipts may come over any bind that
 * receives: those of a running worker would be lost here.
 */
import type { GivenOperator } from '../operator-option.ts';
import { refusalOf } from './answers.ts';
import { type Bound, bindBody, Command, readBound, Status } from './pdu.ts';
import { Session } from './session.ts';

export type Tried =
  | { readonly kind: 'bound'; readonly smsc: Bound }
  /** Somebody has this bind, and the SMSC takes one: it knows the system_id. */
  | { readonly kind: 'taken'; readonly reason: string }
  | { readonly kind: 'refused'; readonly reason: string }
  /** There is no connection, or no answer on it. */
  | { readonly kind: 'away'; readonly reason: string };

const UNBIND_MS_MAX = 1000;

/** Binds, and unbinds at once. Never rejects. */
export async function tryBind(given: GivenOperator, msMax: number): Promise<Tried> {
  const { url, system_id: systemId = '', password = '', system_type: systemType = '' } = given;
  let session: Session;
  try {
    session = await Session.open({ url, connectMs: msMax, answerMs: msMax, enquireLinkMs: 30_000 });
  } catch (cause) {
    return { kind: 'away', reason: (cause as Error).message };
  }
  try {
    const answered = await session.request(Command.BIND_TRANSMITTER, bindBody({ systemId, password, systemType }));
    if (answered.kind !== 'answer') return { kind: 'away', reason: answered.reason };
    const { status, body } = answered.pdu;
    const { reason } = refusalOf(status);
    if (status === Status.ALREADY_BOUND) return { kind: 'taken', reason };
    if (status !== Status.OK) return { kind: 'refused', reason };
    await session.request(Command.UNBIND, [], { answerMs: UNBIND_MS_MAX });
    return { kind: 'bound', smsc: readBound(body) };
  } finally {
    session.destroy('examined');
    await session.closed;
  }
}
