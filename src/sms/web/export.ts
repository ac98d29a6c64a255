/** Export: the messages of the shown time as a file, a row each. */
import { getFile, isAbort, wordsOf } from '../../web/api.ts';
import { h, icon } from '../../web/dom.ts';
import { said } from '../../web/parts.ts';
import { query, type Stretch } from './period.ts';

const formats = { csv: 'CSV', jsonl: 'JSON Lines', parquet: 'Parquet' } as const;

export interface ExportTools {
  readonly element: HTMLElement;
  /** Ends what is under way. */
  stop(): void;
}

/** `stretch`: the time that is shown now. */
export function exportTools(stretch: () => Stretch): ExportTools {
  const format = h(
    'select',
    { class: 'input format', 'aria-label': 'Format of the file' },
    Object.entries(formats).map(([value, label]) => h('option', { value }, label)),
  );
  const start = h('button', { type: 'button', class: 'button', onclick: () => void run() }, icon('download'), 'Export');
  const problem = h('p', { class: 'problem', role: 'alert' });
  let running: AbortController | undefined;

  async function run(): Promise<void> {
    running = new AbortController();
    const { signal } = running;
    problem.textContent = '';
    start.disabled = true;
    start.setAttribute('aria-busy', 'true');
    try {
      const path = `/v1/export?format=${format.value}&${query(stretch())}`;
      const { name, content } = await getFile(path, `messages.${format.value}`, signal);
      save(name, content);
      said('The file is there');
    } catch (error) {
      if (!isAbort(error)) problem.textContent = wordsOf(error);
    } finally {
      start.disabled = false;
      start.removeAttribute('aria-busy');
    }
  }

  return { element: h('div', { class: 'export' }, problem, format, start), stop: () => running?.abort() };
}

function save(name: string, content: Blob): void {
  const href = URL.createObjectURL(content);
  h('a', { href, download: name }).click();
  // The browser has taken hold of the content by the next turn.
  setTimeout(() => URL.revokeObjectURL(href));
}
