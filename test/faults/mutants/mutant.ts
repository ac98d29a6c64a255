/** One order or check that a promise rests on, broken on purpose. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Each text, which stands in the file exactly once, and what it becomes. */
  readonly edits: readonly (readonly [from: string, to: string])[];
  /** The test files of which one has to go red. */
  readonly tests: readonly string[];
}
