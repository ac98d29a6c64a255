/**
 * Markdown: parts of a document that are made from the code, between `<!-- NAME:begin -->` and `<!-- NAME:end -->`. A test asks
 * whether such a part is stale, so the README cannot drift from what runs.
 */

/** The markers of a part. */
export function markers(name: string): readonly [begin: string, end: string] {
  return [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
}

/** The document with one part renewed. Throws a TypeError when the document does not have the markers once each, in order. */
export function renewPart(document: string, name: string, content: string): string {
  const [begin, end] = markers(name);
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  const twice = document.lastIndexOf(begin) !== from || document.lastIndexOf(end) !== to;
  if (from < 0 || to < from || twice) throw new TypeError(`the document must hold ${begin} and then ${end}, once each`);
  return `${document.slice(0, from + begin.length)}\n${content}\n${document.slice(to)}`;
}

/** Whether a part says something else than it should. */
export function partIsStale(document: string, name: string, content: string): boolean {
  return renewPart(document, name, content) !== document;
}

/** A table. Cells are made harmless: a pipe or a line break would end them. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}
