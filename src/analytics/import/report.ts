/** Report of an import: what became of the lines of each file, and the first of those that could not be read. */
const SHOWN_MAX = 10;

interface Counts {
  lines: number;
  added: number;
  known: number;
  passed: number;
  left: number;
  bad: number;
}

export class Report {
  readonly #say: (text: string) => void;
  #file = '';
  #counts: Counts = { lines: 0, added: 0, known: 0, passed: 0, left: 0, bad: 0 };
  #bad: string[] = [];
  readonly #notes: string[] = [];
  #good = 0;
  #allBad = 0;
  /** Events of all files so far. */
  events = 0;

  constructor(say: (text: string) => void) {
    this.#say = say;
  }

  /** No line could be read, and there were some. */
  get useless(): boolean {
    return this.#good === 0 && this.#allBad > 0;
  }

  begin(file: string): void {
    this.end();
    this.#file = file;
    this.#counts = { lines: 0, added: 0, known: 0, passed: 0, left: 0, bad: 0 };
    this.#bad = [];
  }

  /** `found`: undefined is no event, a text says why it is bad. */
  line(number: number, found: object | string | undefined): void {
    const counts = this.#counts;
    counts.lines += 1;
    if (typeof found === 'string') {
      counts.bad += 1;
      this.#allBad += 1;
      if (this.#bad.length < SHOWN_MAX) this.#bad.push(`  line ${number}: ${found}`);
      return;
    }
    this.#good += 1;
    if (found === undefined) counts.passed += 1;
    else this.events += 1;
  }

  /** A last line without its end was not looked at. */
  left(): void {
    this.#counts.left += 1;
  }

  added(added: number, of: number): void {
    this.#counts.added += added;
    this.#counts.known += of - added;
  }

  /** Something about all files, said behind them. */
  note(text: string): void {
    this.#notes.push(text);
  }

  /** Says what became of the last file, and the notes. */
  close(): void {
    this.end();
    for (const text of this.#notes) this.#say(text);
  }

  /** Says what became of the file. */
  end(): void {
    if (this.#file === '') return;
    const { lines, added, known, passed, left, bad } = this.#counts;
    const number = (count: number) => count.toLocaleString('en-US');
    const parts = [`${number(added)} added`];
    if (known > 0) parts.push(`${number(known)} known before`);
    if (passed > 0) parts.push(`${number(passed)} not counted`);
    if (left > 0) parts.push('the last line has no end yet: left to the next run');
    if (bad > 0) parts.push(`${number(bad)} bad`);
    this.#say(`${this.#file}: ${number(lines)} lines, ${parts.join(', ')}`);
    for (const text of this.#bad) this.#say(text);
    if (bad > this.#bad.length) this.#say(`  and ${number(bad - this.#bad.length)} more`);
    this.#file = '';
  }
}
