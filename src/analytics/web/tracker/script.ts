/**
 * The tracker as a script of a page: its options are data-* of its element, calls that came before it are in
 * `ringmain.q`. README.md of analytics has the snippet.
 */
import type { Props, Track } from './module.d.ts';
import { start } from './tracker.ts';

type Global = Track & { q?: readonly (readonly [string, Props?])[]; on?: true };

const page = window as Window & { ringmain?: Global };
const script = document.currentScript as HTMLScriptElement;
const before = page.ringmain;
// A second copy would count everything twice.
if (!before?.on) {
  // The server puts EVENTS_PATH into the place of /events (tracker-route.ts).
  const track: Global = start({ api: new URL('/events', script.src).href, ...script.dataset });
  track.on = true;
  page.ringmain = track;
  before?.q?.map((call) => track(...call));
}
