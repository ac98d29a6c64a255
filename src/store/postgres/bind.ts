/**
 * Bind: the message that gives a statement its parameters, in pieces: each parameter goes to the socket as it is. The
 * driver copies them into one buffer, which it makes larger again and again; for the arrays of a large statement it would
 * leave several times their bytes to the collector.
 *
 *   'B', length i32, portal and statement (each ends with 0), formats { count i16, 0 text | 1 binary, i16 each },
 *   parameters { count i16, length i32 (-1: null), bytes }, formats of the results { count i16 = 1, i16 }
 */

/** What the driver's Connection.bind() takes. */
export interface BindConfig {
  readonly portal?: string;
  readonly statement?: string;
  readonly binary?: boolean;
  readonly values?: readonly unknown[];
  /** What the driver sends in place of a value: null, a text or bytes. */
  readonly valueMapper?: (value: unknown) => Buffer | string | null | undefined;
}

/** Parameters with fewer bytes than this are not worth pieces. */
const PIECES_FROM = 32 * 1024;
const NULL = -1;

/** The pieces of the message, or undefined when the driver's own way is as good. */
export function bindPieces({ portal, statement, binary, values, valueMapper }: BindConfig): Buffer[] | undefined {
  if (values === undefined) return undefined;
  let size = 0;
  for (const value of values) if (value instanceof Buffer) size += value.length;
  if (size < PIECES_FROM) return undefined;
  const parameters = values.map((value) =>
    valueMapper === undefined ? (value as Buffer | string) : valueMapper(value),
  );
  const names = Buffer.from(`${portal ?? ''}\0${statement ?? ''}\0`);
  const head = Buffer.allocUnsafe(5 + names.length + 4 + 2 * values.length);
  let at = 5 + names.copy(head, 5);
  at = head.writeInt16BE(values.length, at);
  for (const parameter of parameters) at = head.writeInt16BE(parameter instanceof Buffer ? 1 : 0, at);
  head.writeInt16BE(values.length, at);
  const pieces: Buffer[] = [head];
  for (const parameter of parameters) {
    const bytes = typeof parameter === 'string' ? Buffer.from(parameter) : parameter;
    const length = Buffer.allocUnsafe(4);
    length.writeInt32BE(bytes?.length ?? NULL);
    pieces.push(length);
    if (bytes != null) pieces.push(bytes);
  }
  pieces.push(Buffer.from([0, 1, 0, binary === true ? 1 : 0]));
  head[0] = 'B'.charCodeAt(0);
  head.writeInt32BE(
    pieces.reduce((sum, piece) => sum + piece.length, -1),
    1,
  );
  return pieces;
}
