DROP TRIGGER customer_activity ON customers;
DROP TABLE api_keys;
DROP FUNCTION note_keys_of_customer();
DROP FUNCTION note_key();
DROP FUNCTION note_key_change(text);
DROP TABLE key_changes;
DROP TABLE audit_log;
