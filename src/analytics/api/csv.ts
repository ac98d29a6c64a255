/**
 * CSV as RFC 4180 has it: CRLF, and quotes around what needs them. A text that a spreadsheet would take for a formula
 * gets an apostrophe in front, as OWASP advises (CSV injection): what stands in a path or a property is somebody
 * else's.
 */

/** Begins of formulas, in the widths that spreadsheets know; TAB and CR hide one. */
const FORMULA = /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/;
const QUOTED = /[",\r\n]/;

export type Cell = string | number | null | undefined;

function cellText(cell: Cell): string {
  if (cell === null || cell === undefined) return '';
  if (typeof cell === 'number') return String(cell);
  const safe = FORMULA.test(cell) ? `'${cell}` : cell;
  return QUOTED.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export const csvLine = (cells: readonly Cell[]): string => `${cells.map(cellText).join(',')}\r\n`;
