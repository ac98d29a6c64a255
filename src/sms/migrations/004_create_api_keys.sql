-- Keys of customers. Only digests are kept (access/api-key.ts); `pepper_id` tells under which pepper they were made, and
-- nothing about it (access/pepper.ts).
CREATE TABLE api_keys (
  id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),
  customer_id text COLLATE "C" NOT NULL REFERENCES customers ON DELETE CASCADE,
  key_hash bytea UNIQUE NOT NULL,
  pepper_id text NOT NULL,
  env text NOT NULL DEFAULT 'live' CHECK (env IN ('live', 'test')),
  name text NOT NULL DEFAULT '',
  is_active boolean NOT NULL DEFAULT true,
  expires_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX api_keys_customer ON api_keys (customer_id);

-- What administrators did.
CREATE TABLE audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  actor text NOT NULL,
  action text NOT NULL,
  subject text NOT NULL,
  client_ip inet,
  details jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_time ON audit_log (at);

-- Which keys have changed, so that every process learns of it. The lock makes versions visible in their order: who has
-- seen one has seen all below it.
CREATE TABLE key_changes (
  key_id text COLLATE "C" PRIMARY KEY,
  version bigint NOT NULL UNIQUE,
  changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION note_key_change(changed text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  LOCK TABLE key_changes IN SHARE ROW EXCLUSIVE MODE;
  INSERT INTO key_changes AS c (key_id, version)
    VALUES (changed, (SELECT coalesce(max(version), 0) + 1 FROM key_changes))
    ON CONFLICT (key_id) DO UPDATE SET version = excluded.version, changed_at = excluded.changed_at;
  NOTIFY key_changes;
END
$$;
CREATE FUNCTION note_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM note_key_change(CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END);
  RETURN NULL;
END
$$;
-- The keys of a customer who is not active are refused.
CREATE FUNCTION note_keys_of_customer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM note_key_change(id) FROM api_keys WHERE customer_id = NEW.customer_id ORDER BY id;
  RETURN NULL;
END
$$;
CREATE TRIGGER key_changed AFTER INSERT OR UPDATE OR DELETE ON api_keys FOR EACH ROW EXECUTE FUNCTION note_key();
-- Only a statement that names the column: charges and credits change rows thousands of times a second.
CREATE TRIGGER customer_activity AFTER UPDATE OF active ON customers FOR EACH ROW
  WHEN (OLD.active IS DISTINCT FROM NEW.active) EXECUTE FUNCTION note_keys_of_customer();
