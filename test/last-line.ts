/**
 * Reporter: prints what tests say of themselves (annotations), and ends the run with `N passed, N failed` on the last
 * line. With VERDICT_FILE the verdict of every file goes there instead, for run-all.ts.
 */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Reporter, SerializedError, TestCase, TestModule } from 'vitest/node';

/** What became of a test file. */
export interface FileVerdict {
  readonly project: string;
  /** From the folder of the run. */
  readonly path: string;
  passed: number;
  skipped: number;
  /** Names of tests that failed, and of what failed outside a test. */
  readonly failed: string[];
}

export interface Verdict {
  readonly files: readonly FileVerdict[];
  /** Errors that belong to no file. */
  readonly unplaced: number;
}

export const sum = (files: readonly FileVerdict[], of: (file: FileVerdict) => number): number =>
  files.reduce((total, file) => total + of(file), 0);

/** Prints the last line. */
export function tellVerdict({ files, unplaced }: Verdict): void {
  const skipped = sum(files, (file) => file.skipped);
  const failed = unplaced + sum(files, (file) => file.failed.length);
  if (skipped > 0) console.log(`\n${skipped} skipped (LONG=1 runs them)`);
  console.log(`\n${sum(files, ({ passed }) => passed)} passed, ${failed} failed`);
}

export default class LastLine implements Reporter {
  onTestCaseAnnotate(test: TestCase, annotation: { readonly message: string }): void {
    console.log(`   ${test.name}: ${annotation.message}`);
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const files = modules.map(verdictOf);
    let unplaced = 0;
    for (const error of unhandled) {
      const at = modules.findIndex(({ moduleId }) => moduleId === error['VITEST_TEST_PATH']);
      if (at < 0) unplaced += 1;
      else files[at]!.failed.push(`unhandled error: ${error.message}`);
    }
    const verdict: Verdict = { files, unplaced };
    const { VERDICT_FILE: file } = process.env;
    if (file === undefined) tellVerdict(verdict);
    else writeFileSync(file, JSON.stringify(verdict));
  }
}

function verdictOf(module: TestModule): FileVerdict {
  const path = relative(process.cwd(), module.moduleId);
  const verdict: FileVerdict = { project: module.project.name, path, passed: 0, skipped: 0, failed: [] };
  for (const test of module.children.allTests()) {
    const { state } = test.result();
    if (state === 'passed') verdict.passed += 1;
    else if (state === 'failed') verdict.failed.push(test.fullName);
    else verdict.skipped += 1;
  }
  // A file or a describe() that breaks outside its tests is a failure of its own.
  if (module.errors().length > 0) verdict.failed.push('outside of its tests');
  for (const suite of module.children.allSuites())
    if (suite.errors().length > 0) verdict.failed.push(`${suite.fullName}, outside of its tests`);
  return verdict;
}
