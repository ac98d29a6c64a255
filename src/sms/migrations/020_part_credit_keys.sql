-- Credits that the service makes by itself get keys with blanks, which keys of people never have (money/ledger.ts): a
-- person's key that was equal to one of them stopped the settling of a late express message. What people credited stands
-- in the audit log with its key, and keeps it.
UPDATE balance_credits b
  SET idempotency_key = CASE idempotency_key WHEN 'opening' THEN 'opening balance'
    ELSE 'express miss ' || substr(idempotency_key, length('express-miss:') + 1) END
  WHERE (idempotency_key = 'opening' OR idempotency_key ~ '^express-miss:[0-9A-HJKMNP-TV-Z]{26}$')
    AND NOT EXISTS (SELECT FROM audit_log a WHERE a.action IN ('customer_credited', 'customer_debited')
      AND a.subject = 'customer:' || b.customer_id AND a.details ->> 'idempotency_key' = b.idempotency_key);
