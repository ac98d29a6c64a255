/** Format: counts, rates, durations and times as people read them. */
const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const exact = (value: number): string => whole.format(value);
export const compact = (value: number): string => (value < 10_000 ? whole.format(value) : short.format(value));

/** 98.4 %; never 100 % while something is missing. */
export function percent(part: number, of: number): string {
  if (of === 0) return '–';
  const rate = Math.floor((part / of) * 1000) / 10;
  return `${rate === 100 || rate === 0 ? rate.toFixed(0) : rate.toFixed(1)} %`;
}

/** 240 ms, 3.2 s, 4 min. */
export function span(ms: number | null): string {
  if (ms === null) return '–';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** What is left of a balance at the pace of now. */
export function daysLeft(days: number): string {
  if (days === 0) return 'used up';
  if (days < 1) return `${Math.max(1, Math.round(days * 24))} h`;
  return days < 10 ? `${days.toFixed(1)} days` : days > 365 ? 'over a year' : `${Math.round(days)} days`;
}

const clock = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const dayAndClock = new Intl.DateTimeFormat('en', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});

export const clockText = (ms: number): string => clock.format(ms);
/** Days of reports are those of UTC. */
export const dayText = (ms: number): string => day.format(ms);
export const momentText = (ms: number): string => dayAndClock.format(ms);
