/** Names of the jobs of role worker (jobs.ts), for the declaration of the role, which loads no job. */
export const deliveryJobNames = ['stranded', 'operator-ids', 'dead-letters'] as const;
