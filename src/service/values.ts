/** The values of the frame's own options: what every service has. */
import type { EngineConfig } from '../engine/config.ts';
import type { HttpConfig } from '../http/config.ts';
import type { KernelConfig } from '../kernel/log.ts';
import type { TracingConfig } from '../kernel/tracing.ts';
import type { OutputsConfig, ServiceConfig } from './config.ts';

export interface FrameValues {
  readonly kernel: KernelConfig;
  readonly engine: EngineConfig;
  readonly http: HttpConfig;
  readonly service: ServiceConfig;
  readonly sinks: OutputsConfig;
  readonly tracing: TracingConfig;
}
