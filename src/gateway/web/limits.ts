/** Limits: what stands in the fields of forms, as the server takes it. */

/** An empty field is no limit. */
export const numberOf = (text: string | undefined): number | null =>
  text === undefined || text.trim() === '' ? null : Number(text);

export const networksOf = (text: string | undefined): readonly string[] =>
  (text ?? '').split(/[\s,]+/).filter((one) => one !== '');
