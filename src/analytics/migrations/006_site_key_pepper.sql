-- Under which pepper the digest of a key was made (access/pepper.ts); null: nobody has noted it.
ALTER TABLE site_keys ADD COLUMN pepper_id text;
