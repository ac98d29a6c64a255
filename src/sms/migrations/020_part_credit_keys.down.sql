-- A key of a person that is equal to it stays what it is, as it was before.
UPDATE balance_credits b SET idempotency_key = o.key
  FROM (SELECT customer_id, idempotency_key, CASE idempotency_key WHEN 'opening balance' THEN 'opening'
      ELSE 'express-miss:' || substr(idempotency_key, length('express miss ') + 1) END AS key FROM balance_credits
    WHERE idempotency_key = 'opening balance' OR idempotency_key LIKE 'express miss %') AS o
  WHERE b.customer_id = o.customer_id AND b.idempotency_key = o.idempotency_key
    AND NOT EXISTS (SELECT FROM balance_credits p WHERE p.customer_id = o.customer_id AND p.idempotency_key = o.key);
