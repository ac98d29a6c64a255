/**
 * Markdown: sections of a document that are generated from the code, between `<!-- NAME:begin -->` and
 * `<!-- NAME:end -->`. A test fails when such a section is stale, so the page cannot drift from the code.
 */

/** The markers of a section. */
export function markers(name: string): readonly [begin: string, end: string] {
  return [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
}

/** Returns the document with one section renewed. Throws a TypeError unless it has both markers once, in order. */
export function renewPart(document: string, name: string, content: string): string {
  const [begin, end] = markers(name);
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  const twice = document.lastIndexOf(begin) !== from || document.lastIndexOf(end) !== to;
  if (from < 0 || to < from || twice) throw new TypeError(`the document must hold ${begin} and then ${end}, once each`);
  return `${document.slice(0, from + begin.length)}\n${content}\n${document.slice(to)}`;
}

/** Whether a section differs from what it should say. */
export function partIsStale(document: string, name: string, content: string): boolean {
  return renewPart(document, name, content) !== document;
}

/** A table. Pipes and line breaks in cells are escaped, because they would end the cell. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}
