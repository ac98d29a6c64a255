/** Reporter: prints what tests say of themselves (annotations), and ends the run with `N passed, N failed` on the last line. */
import type { Reporter, TestCase, TestModule } from 'vitest/node';

export default class LastLine implements Reporter {
  onTestCaseAnnotate(test: TestCase, annotation: { readonly message: string }): void {
    console.log(`   ${test.name}: ${annotation.message}`);
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    const count = { passed: 0, failed: unhandled.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) count[test.result().state] += 1;
      // A file or a describe() that breaks outside its tests is a failure of its own.
      if (module.errors().length > 0) count.failed += 1;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) count.failed += 1;
    }
    const skipped = count.skipped + count.pending;
    if (skipped > 0) console.log(`\n${skipped} skipped (LONG=1 runs them)`);
    console.log(`\n${count.passed} passed, ${count.failed} failed`);
  }
}
