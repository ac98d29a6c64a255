DROP TRIGGER purge_widened ON cache_purges;
DROP INDEX idx_cache_purges_source;
DROP TRIGGER removed ON uploads;
DROP FUNCTION note_removed;
