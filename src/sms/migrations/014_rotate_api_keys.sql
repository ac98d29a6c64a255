-- A key has one secret, and during a rotation the one before it until previous_until. Both are under one pepper.
ALTER TABLE api_keys
  ADD COLUMN previous_hash bytea,
  ADD COLUMN previous_until timestamptz,
  ADD CONSTRAINT api_keys_previous CHECK ((previous_hash IS NULL) = (previous_until IS NULL));
