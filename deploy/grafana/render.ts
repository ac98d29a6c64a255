/**
 * Dashboards: the JSON that Grafana reads, made from the short lists in boards.ts, so that a panel is one line to read and to review.
 * `node deploy/grafana/render.ts` writes dashboards/*.json; a test holds the files to what is made here.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Board, boards, type Panel } from './boards.ts';

const WIDTH = 24;
/** The source of every panel is a variable of its board: a folder of dashboards fits any Grafana. */
const SOURCE = '$datasource';
const sourceTypes = { prometheus: 'prometheus', postgres: 'grafana-postgresql-datasource' } as const;

/** Name of a dashboard's file. */
export const fileOf = (board: Board): string => join(import.meta.dirname, 'dashboards', `${board.uid}.json`);

/** The whole JSON of a dashboard, as it stands in its file. */
export function render(board: Board): string {
  const source = { type: sourceTypes[board.source], uid: SOURCE };
  let x = 0;
  let y = 0;
  let rowHeight = 0;
  const panels = board.panels.map((panel, index) => {
    const [w, h] = [panel.width ?? 8, panel.height ?? 8];
    if (x + w > WIDTH) {
      x = 0;
      y += rowHeight;
      rowHeight = 0;
    }
    const gridPos = { h, w, x, y };
    x += w;
    rowHeight = Math.max(rowHeight, h);
    return {
      id: index + 1,
      type: panel.type ?? 'timeseries',
      title: panel.title,
      description: panel.doc,
      datasource: source,
      gridPos,
      fieldConfig: {
        defaults: { unit: panel.unit ?? 'short', min: panel.min, thresholds: thresholds(panel), ...statesOf(panel) },
        overrides: [],
      },
      options: optionsOf(panel),
      targets: panel.queries.map((query, i) => target(board, query, i)),
    };
  });
  const dashboard = {
    uid: board.uid,
    title: board.title,
    tags: ['ringmain'],
    schemaVersion: 39,
    version: 1,
    editable: false,
    timezone: 'utc',
    refresh: board.source === 'prometheus' ? '15s' : '5m',
    time: { from: board.source === 'prometheus' ? 'now-1h' : 'now-30d', to: 'now' },
    templating: { list: variables(board) },
    panels,
  };
  return `${JSON.stringify(dashboard, null, 2)}\n`;
}

function target(board: Board, { text, legend }: Panel['queries'][number], index: number): object {
  const refId = String.fromCharCode(65 + index);
  return board.source === 'prometheus'
    ? { refId, expr: text, legendFormat: legend ?? '' }
    : {
        refId,
        rawSql: text,
        rawQuery: true,
        format: legend === 'time_series' ? 'time_series' : 'table',
        editorMode: 'code',
      };
}

function optionsOf(panel: Panel): object {
  if (panel.type === 'stat')
    return { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'background', graphMode: 'none' };
  if (panel.type === 'state-timeline')
    return {
      mergeValues: true,
      showValue: 'auto',
      alignValue: 'left',
      rowHeight: 0.8,
      legend: { displayMode: 'list', placement: 'bottom', showLegend: false },
      tooltip: { mode: 'single' },
    };
  if (panel.type === 'table') return { showHeader: true };
  return { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } };
}

function statesOf({ states }: Panel): object {
  if (states === undefined) return {};
  const options = Object.fromEntries(states.map(({ value, text, color }, index) => [value, { text, color, index }]));
  return { mappings: [{ type: 'value', options }], custom: { fillOpacity: 80, lineWidth: 0 } };
}

function thresholds(panel: Panel): object {
  const steps: { color: string; value: number | null }[] = [{ color: panel.bad?.below ? 'red' : 'green', value: null }];
  if (panel.bad) steps.push({ color: panel.bad.below ? 'green' : 'red', value: panel.bad.at });
  return { mode: 'absolute', steps };
}

function variables(board: Board): object[] {
  const names = { prometheus: 'Ringmain metrics', postgres: 'Ringmain events' };
  const source = {
    name: 'datasource',
    label: 'Data source',
    type: 'datasource',
    query: sourceTypes[board.source],
    // The provisioned one; in a Grafana without it, the first of its type.
    current: { text: names[board.source], value: `ringmain-${board.source}` },
  };
  if (board.source !== 'prometheus') return [source];
  return [
    source,
    {
      name: 'instance',
      label: 'Collector',
      type: 'query',
      datasource: { type: sourceTypes.prometheus, uid: SOURCE },
      query: { query: 'label_values(up{job="ringmain"}, instance)', refId: 'instance' },
      refresh: 2,
      includeAll: true,
      allValue: '.*',
      multi: true,
      current: { text: 'All', value: '$__all' },
    },
  ];
}

if (process.argv[1] === import.meta.filename) {
  for (const board of boards) {
    mkdirSync(join(import.meta.dirname, 'dashboards'), { recursive: true });
    writeFileSync(fileOf(board), render(board));
    console.log(fileOf(board));
  }
}
