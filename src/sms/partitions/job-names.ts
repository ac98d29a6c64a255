/** Names of the jobs of the role partitions (jobs.ts), for the declaration of the role, which loads no job. */
export const partitionJobNames = ['partitions'] as const;
