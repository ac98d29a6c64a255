/** Pixel config: the option sets of the collector, beside those of the frame. */
import { collectConfig } from '../collect/config.ts';
import { visitorConfig } from '../visitor/config.ts';

export const pixelConfigs = [collectConfig, visitorConfig] as const;
