-- Every customer has a secret of callbacks from its first moment, so that none goes out unsigned; customers that had none
-- get one here, which nobody has seen: they ask for another. It is as customers/keys.ts makes it: whsec_ and 43
-- characters of base64url.
CREATE FUNCTION make_callback_secret() RETURNS bytea LANGUAGE sql VOLATILE AS $$
  SELECT convert_to('whsec_' || rtrim(translate(
    encode(decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'), 'base64'), '+/', '-_'),
    '='), 'UTF8')
$$;
UPDATE customers SET callback_secret = make_callback_secret() WHERE callback_secret IS NULL;
ALTER TABLE customers
  ALTER COLUMN callback_secret SET DEFAULT make_callback_secret(),
  ALTER COLUMN callback_secret SET NOT NULL;
