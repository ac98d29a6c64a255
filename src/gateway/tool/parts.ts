/** Parts of the gateway's tools: flags of rates, and who they are in the audit log. */
import type { DatabaseTool } from '../../service/tool/database-tool.ts';
import { countOf, given } from '../../service/tool/flags.ts';
import type { Actor, RateLimits } from '../database/admin/contract.ts';

export const actor: Actor = { name: 'cli' };

/** Words between commas; `none`: no word. */
export function wordsOf(text: string): readonly string[] {
  if (text === 'none') return [];
  return text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');
}

export const rateFlags = {
  'requests-per-minute': { value: 'N|none', text: 'requests in a minute; none: no limit of its own' },
  'requests-per-hour': { value: 'N|none', text: 'requests in an hour; none: no limit' },
  burst: { value: 'N|none', text: 'the most at once; none: as many as the window takes' },
};

const unlimited: RateLimits = { requests_per_minute: null, requests_per_hour: null, burst: null };

/** The limits of the flags; what no flag names is as `before` has it. */
export const ratesOf = (tool: DatabaseTool, before = unlimited): RateLimits => ({
  ...before,
  ...given({
    requests_per_minute: countOf(tool, 'requests-per-minute'),
    requests_per_hour: countOf(tool, 'requests-per-hour'),
    burst: countOf(tool, 'burst'),
  }),
});

export const rateText = ({ requests_per_minute, requests_per_hour, burst }: RateLimits): string =>
  [
    requests_per_minute === null ? '' : `${requests_per_minute}/min`,
    requests_per_hour === null ? '' : `${requests_per_hour}/h`,
    burst === null ? '' : `burst ${burst}`,
  ]
    .filter((part) => part !== '')
    .join(', ') || '-';
