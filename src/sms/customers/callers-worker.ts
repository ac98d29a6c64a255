/** The callers worker (worker.ts), as a role has it. */
import type { WorkerSpec } from '../../service/contract.ts';
import { sibling } from '../../service/sibling.ts';

export const callersWorker = (name: string): WorkerSpec => ({
  name,
  module: sibling(import.meta, './worker.ts'),
  onDeath: 'restart',
});
