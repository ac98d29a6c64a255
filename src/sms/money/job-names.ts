/** Names of the jobs of role api (jobs.ts), for the declaration of the role, which loads no job. */
export const moneyJobNames = ['audit', 'idempotency'] as const;
