/** The cells of a line of CSV (RFC 4180), whose quoted cells stand on one line; undefined: a quote is not closed. */
export function splitCsv(line: string): readonly string[] | undefined {
  const cells: string[] = [];
  for (let at = 0; ; ) {
    if (line[at] === '"') {
      let cell = '';
      for (at += 1; ; at += 1) {
        const end = line.indexOf('"', at);
        if (end < 0) return undefined;
        cell += line.slice(at, end);
        at = end + 1;
        if (line[at] !== '"') break;
        cell += '"';
      }
      cells.push(cell);
    } else {
      const end = line.indexOf(',', at);
      cells.push(line.slice(at, end < 0 ? undefined : end));
      at = end < 0 ? line.length : end;
    }
    if (line[at] !== ',') return cells;
    at += 1;
  }
}
