/** Names of the jobs of the processor (jobs.ts), for the declaration of the role, which loads no job. */
export const jobNames = ['partitions', 'retention', 'salts', 'people', 'columns'] as const;
export type JobName = (typeof jobNames)[number];
