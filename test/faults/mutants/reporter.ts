/** Reporter of a run over mutants: one line of JSON for each file of tests that has come to its end. */
import type { Reporter, TestModule } from 'vitest/node';

export default class Outcomes implements Reporter {
  onTestModuleEnd(module: TestModule): void {
    const errors = [module, ...module.children.allSuites()].flatMap((suite) => suite.errors());
    for (const test of module.children.allTests('failed')) {
      const { errors: found } = test.result();
      errors.push(...(found ?? []));
    }
    const failed = errors.length > 0 || !module.ok();
    console.log(
      JSON.stringify({
        file: module.relativeModuleId,
        red: failed
          ? errors
              .map(({ message, stack = '' }) => `${message}\n${stack}`)
              .join('\n')
              .slice(0, 2000)
          : undefined,
      }),
    );
  }
}
