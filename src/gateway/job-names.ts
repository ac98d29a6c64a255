/** Names of the gateway's jobs (jobs.ts), for the declaration of the role, which loads no job. */
export const gatewayJobNames = ['partitions', 'retention', 'uploads'] as const;
export type GatewayJobName = (typeof gatewayJobNames)[number];
