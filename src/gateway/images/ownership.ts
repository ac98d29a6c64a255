/** Ownership: whether a user may see an upload. What is known is bounded, and forgotten when an owner deletes. */
export interface Ownership {
  /**
   * Whether the user owns the upload of this path below UPLOAD_DIR (`ab/cd....jpg`). Synchronous when it is known.
   * Rejects with DATABASE_AWAY when it is not known and cannot be asked.
   */
  owns(userId: number, path: string): boolean | Promise<boolean>;
  close(): void;
}
