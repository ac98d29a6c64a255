/** The collector's routes: those of the room collect/, and nothing else. */
import { type CollectShared, type CollectValues, openCollect } from '../collect/collect.ts';
import { collectRehearsal } from '../collect/rehearsal.ts';
import type { Acceptor } from '../service/contract.ts';

const acceptor: Acceptor<CollectValues, CollectShared> = {
  open: (frame) => openCollect(frame),
  rehearsal: collectRehearsal,
};
export default acceptor;
