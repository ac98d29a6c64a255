-- An upload that goes with its last owner takes its variants out of the caches by a mark, which stays for an hour, and
-- by no rule of its own in cache_purges: those stay for weeks.
CREATE FUNCTION note_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  LOCK TABLE gateway_changes IN SHARE ROW EXCLUSIVE MODE;
  INSERT INTO gateway_changes AS c (version, kind, name)
    SELECT n.newest + row_number() OVER (), 'removed', path
      FROM removed CROSS JOIN (SELECT coalesce(max(version), 0) AS newest FROM gateway_changes) n
    ON CONFLICT (kind, name) DO UPDATE SET version = excluded.version, changed_at = excluded.changed_at;
  NOTIFY gateway_changes;
  RETURN NULL;
END
$$;
CREATE TRIGGER removed AFTER DELETE ON uploads REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION note_removed();

-- A rule takes the place of the one before for the same source, which may be longer than a B-tree takes.
CREATE INDEX idx_cache_purges_source ON cache_purges USING hash (source);
-- The oldest rule that is kept becomes one for everything (images/answers.ts).
CREATE TRIGGER purge_widened AFTER UPDATE ON cache_purges FOR EACH ROW EXECUTE FUNCTION note_row_change('purge', 'id');
