/** Setup of a run over mutants: one red test has killed the mutant, and the others of its file have nothing to add. */
import { beforeEach } from 'vitest';

let red = false;
beforeEach(({ skip, onTestFailed }) => {
  if (red) skip();
  onTestFailed(() => {
    red = true;
  });
});
