/**
 * Rules, alerts, runbook and dashboards: promtool runs the unit tests, the runbook and the alerts name each other, and a real Prometheus
 * that scrapes a real collector, a real analytics, a real gateway and a real SMS gateway with their Postgres answers every query of every dashboard and every
 * expression of every rule. The questions that the runbook asks of the database are asked.
 */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { boards } from '../../deploy/grafana/boards.ts';
import { fileOf, render } from '../../deploy/grafana/render.ts';
import { seatStates } from '../../src/kernel/threads/board.ts';
import type { Role } from '../../src/service/contract.ts';
import { seed } from '../../src/sms/setup/seed.ts';
import sms from '../../src/sms/sms.ts';
import { startAnalytics } from '../analytics/running.ts';
import { startGateway } from '../gateway/running.ts';
import { ensureCommand } from '../servers/apt.ts';
import { startHttpOperator } from '../servers/http-operator.ts';
import { fastSettings, startPostgres } from '../servers/postgres.ts';
import { runProgram, ServerProcess, type TestScope, temporaryFolder } from '../servers/process.ts';
import { openLink } from '../sms/database.ts';
import { startSms } from '../sms/running.ts';
import { startCollector } from './collector.ts';
import { deployFolder } from './local-postgres.ts';

const folder = join(deployFolder, 'prometheus');

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
}
const rulesOf = (file: string): Rule[] =>
  (parse(readFileSync(join(folder, file), 'utf8')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
    ({ rules }) => rules,
  );
const alerts = rulesOf('alerts.yml');
const runbook = readFileSync(join(deployFolder, 'RUNBOOK.md'), 'utf8');

test('promtool finds the rules valid and their unit tests green', async () => {
  await ensureCommand('promtool', 'prometheus');
  await runProgram('promtool', ['check', 'rules', 'rules.yml', 'alerts.yml'], { cwd: folder });
  await runProgram('promtool', ['test', 'rules', 'tests.yml'], { cwd: folder });
});

test('each alert has a case in which it fires and one in which it is silent', () => {
  const cases = (
    parse(readFileSync(join(folder, 'tests.yml'), 'utf8')) as {
      tests: { alert_rule_test?: { alertname: string; exp_alerts?: unknown[] }[] }[];
    }
  ).tests.flatMap(({ alert_rule_test: list }) => list ?? []);
  for (const { alert } of alerts) {
    const own = cases.filter(({ alertname }) => alertname === alert);
    assert.ok(
      own.some((one) => (one.exp_alerts?.length ?? 0) > 0),
      `${alert} never fires in tests.yml`,
    );
    assert.ok(
      own.some((one) => one.exp_alerts === undefined),
      `${alert} is never silent in tests.yml`,
    );
  }
});

test('the runbook has one whole entry per alert, and no other', () => {
  const entries = new Map(
    runbook
      .split(/^## /m)
      .slice(1)
      .map((entry) => [entry.slice(0, entry.indexOf('\n')), entry]),
  );
  assert.deepEqual([...entries.keys()].sort(), alerts.map(({ alert }) => alert!).sort());
  for (const [name, entry] of entries) {
    for (const part of ['Means', 'Look at', 'Do', 'Do not']) {
      assert.match(entry, new RegExp(`^\\*\\*${part}\\*\\* \\S`, 'm'), `${name} does not say: ${part}`);
    }
  }
  for (const { alert, annotations, labels } of alerts) {
    assert.equal(
      annotations?.['runbook_url'],
      `file:///opt/ringmain/deploy/RUNBOOK.md#${alert!.toLowerCase()}`,
      'one absolute address, which the chart and README.md replace as a whole',
    );
    assert.match(labels?.['severity'] ?? '', /^(page|ticket)$/);
  }
});

interface Dashboard {
  readonly templating: { list: { name: string; type: string; query: unknown; current: { value: string } }[] };
  readonly panels: readonly {
    readonly type: string;
    readonly title: string;
    readonly datasource: { uid: string; type: string };
    readonly gridPos: { x: number; y: number; w: number; h: number };
    readonly fieldConfig: { defaults: { unit: string; mappings?: { options: Record<string, { text: string }> }[] } };
    readonly targets: readonly { expr?: string }[];
  }[];
}

test('the dashboards on disk are those of boards.ts, without overlapping panels, and take their data source from a variable', () => {
  const sources = parse(readFileSync(join(deployFolder, 'grafana/provisioning/datasources/ringmain.yml'), 'utf8')) as {
    datasources: { name: string; uid: string; type: string }[];
  };
  const known = new Map(sources.datasources.map(({ uid, type }) => [uid, type]));
  for (const board of boards) {
    const text = readFileSync(fileOf(board), 'utf8');
    assert.equal(text, render(board), `stale: run node deploy/grafana/render.ts (${board.uid})`);
    const { panels, templating } = JSON.parse(text) as Dashboard;
    const source = templating.list.find(({ type }) => type === 'datasource')!;
    assert.equal(known.get(source.current.value), source.query, 'the provisioned source is chosen first');
    const taken = new Set<string>();
    for (const { datasource, gridPos } of panels) {
      assert.deepEqual(datasource, { type: source.query, uid: `$${source.name}` });
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          assert.ok(x < 24 && !taken.has(`${x},${y}`), `panels overlap at ${x},${y} of ${board.uid}`);
          taken.add(`${x},${y}`);
        }
      }
    }
  }
});

// Goal: a figure that nobody looks at is found when it is added, not when it is missed.
test('each metric of the SMS gateway stands on its board', () => {
  const board = JSON.stringify(boards.find(({ uid }) => uid === 'ringmain-sms'));
  const known = Object.values(sms.roles).flatMap((role: Role) => [
    ...(role.metrics ?? []),
    ...(role.metricsOf?.({ operators: { operators: [] } } as never) ?? []),
  ]);
  const names = [...new Set(known.flatMap(({ metrics }) => Object.keys(metrics)))];
  assert.ok(names.length > 30, `${names}`);
  // How large groups are explains the time of the transaction, to whoever measures it.
  const left = new Set(['sms_accept_group_messages']);
  assert.deepEqual(
    names.filter((name) => !left.has(name) && !new RegExp(`\\b${name}(_bucket)?\\b`).test(board)),
    [],
  );
});

test('each panel has one unit, that of every query in it', () => {
  const unitOf = (query: string): RegExp => {
    if (/_batches_total\{/.test(query) && / \/ /.test(query)) return /^short$/;
    if (/ \/ /.test(query)) return /^percentunit$/;
    if (/rate\(\w*cpu_seconds_total/.test(query)) return /^short$/;
    if (/rate\(\w*_bytes_total/.test(query)) return /^Bps$/;
    if (/_count\{/.test(query)) return /^ops$/;
    if (/histogram_quantile|_seconds[\w:]*\{/.test(query)) return /^s$/;
    if (/rate\(/.test(query)) return /^(cps|reqps|ops)$/;
    return /_bytes\{/.test(query) ? /^bytes$/ : /^short$/;
  };
  for (const board of boards.filter(({ source }) => source === 'prometheus'))
    for (const { title, unit = 'short', queries } of board.panels)
      for (const { text } of queries) assert.match(unit, unitOf(text), `${board.uid}, ${title}: ${text}`);
});

test('the state of a sink is a state timeline with the names of the states', () => {
  const { panels } = JSON.parse(readFileSync(fileOf(boards[1]!), 'utf8')) as Dashboard;
  const state = panels.find(({ title }) => title === 'State')!;
  assert.equal(state.type, 'state-timeline');
  const names = Object.values(state.fieldConfig.defaults.mappings![0]!.options).map(({ text }) => text);
  assert.deepEqual(names, seatStates);
});

test('a Prometheus that scrapes a live collector, analytics, gateway and SMS gateway answers every query of dashboards and rules', async (t) => {
  const postgres = await startPostgres(t, { port: 21_922, settings: { ...fastSettings } });
  const backend = createServer((_, res) => res.end()).listen(21_925, '127.0.0.1');
  t.onTestFinished(() => void backend.close());
  await psql(postgres.dsn, 'CREATE DATABASE gateway');
  const gatewayDsn = postgres.dsn.replace(/[^/]+$/, 'gateway');
  await psql(postgres.dsn, 'CREATE DATABASE sms');
  const smsDsn = postgres.dsn.replace(/[^/]+$/, 'sms');
  const operator = await startHttpOperator(t);
  const OPERATORS = JSON.stringify([{ name: 'mci', driver: 'http', url: operator.url }]);
  const [collector, analytics, gateway, sms] = await Promise.all([
    startCollector(t, { port: 21_921 }),
    startAnalytics(t, { port: 21_923, env: { DATABASE_URL: postgres.dsn } }),
    startGateway(t, { port: 21_924, dsn: gatewayDsn, env: { BACKENDS: '[{"url":"http://127.0.0.1:21925"}]' } }),
    startSms(t, { port: 21_926, dsn: smsDsn, env: { ACCESS: 'open', OPERATORS } }),
  ]);
  const link = await openLink(smsDsn);
  await seed(link, { customers: 1, balance: 1_000_000 });
  await link.close();
  const urls = [collector.url, analytics.url, gateway.url, sms.url];
  const prometheus = await startPrometheus(
    t,
    21_920,
    urls.map((url) => new URL(url).host),
  );
  const metrics = await Promise.all(urls.map(async (url) => (await fetch(`${url}/metrics`)).text()));
  const names = new Set(metrics.flatMap((text) => [...text.matchAll(/^([a-z_]+)[{ ]/gm)].map(([, name]) => name!)));
  for (const { record } of rulesOf('rules.yml')) names.add(record!);

  // Traffic goes on while the queries run: a rate needs two different samples.
  let sending = true;
  const view = { site_id: 'shop', event_type: 'page_view', path: '/' };
  const stats = `/stats?site_id=shop&date=${new Date().toISOString().slice(0, 10)}`;
  const traffic = (async () => {
    for (let n = 0; sending; n += 1) {
      await (await fetch(`${collector.url}/px.gif?e=pageview&n=${n}`)).arrayBuffer();
      await (await analytics.post('/events', view)).arrayBuffer();
      await (await analytics.get(stats)).arrayBuffer();
      await (await fetch(`${gateway.url}/rs:fit:300:200/plain/local:///a.jpg`)).arrayBuffer();
      const message = {
        customer_id: 'test-1',
        to: '+989121234567',
        text: 'x',
        type: n % 2 === 0 ? 'express' : 'normal',
      };
      const sent = await fetch(`${sms.url}/v1/sms/send`, { method: 'POST', body: JSON.stringify(message) });
      assert.equal(sent.status, 200, await sent.text());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  try {
    await checkQueries(prometheus, names);
    await checkRunbook('DATABASE_URL', postgres.dsn);
    await checkRunbook('DB_DSN', gatewayDsn);
    await checkRunbook('SMS_DSN', smsDsn);
  } finally {
    sending = false;
    await traffic;
  }
});

/** Questions that the runbook asks of the database: each finds something, on a database where all is well. */
async function checkRunbook(variable: string, dsn: string): Promise<void> {
  const questions = [...runbook.matchAll(new RegExp(`\`psql "\\$${variable}" -c "([^"]+)"\``, 'g'))];
  assert.ok(questions.length >= 4, 'the runbook asks the database');
  const ofTrouble =
    /FROM (events_default|request_logs WHERE|request_logs_default|quota_messages|usage_months WHERE|sms_outbox GROUP|sms_logs WHERE|sms_logs_default GROUP|sms_callbacks|balance_credits)/;
  for (const [, sql = ''] of questions) {
    const found = await psql(dsn, sql);
    if (!ofTrouble.test(sql)) assert.notEqual(found.trim(), '', sql);
  }
}

async function psql(dsn: string, sql: string): Promise<string> {
  await ensureCommand('psql', 'postgresql-client');
  return runProgram('psql', ['-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-c', sql, dsn]);
}

async function checkQueries(prometheus: string, names: ReadonlySet<string>): Promise<void> {
  await expect
    .poll(() => query(prometheus, 'ringmain:journal_seconds_left'), { message: 'two scrapes and a round of the rules' })
    .toBeGreaterThanOrEqual(3);
  await expect.poll(() => query(prometheus, 'ringmain:query_seconds:p95')).toBeGreaterThan(0);

  for (const board of boards.filter(({ source }) => source === 'prometheus')) {
    for (const panel of board.panels) {
      for (const { text } of panel.queries) {
        const expression = text.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '60s');
        assertKnown(expression, names, panel.title);
        const message = `the panel is empty: ${board.uid}, ${panel.title}: ${expression}`;
        await expect.poll(() => query(prometheus, expression), { message }).toBeGreaterThan(0);
      }
    }
  }
  for (const { alert, record, expr } of [...alerts, ...rulesOf('rules.yml')]) {
    assertKnown(expr, names, alert ?? record!);
    await query(prometheus, expr);
  }
  // These two measure the machine, which is busy with other tests; others may be pending for a moment, for the same reason.
  const ofMachine = ['RingmainEventLoopDelay', 'RingmainSyncSlow'];
  const pending = async () => {
    const { data } = (await ask(prometheus, '/api/v1/alerts')) as {
      data: { alerts: { labels: { alertname: string } }[] };
    };
    return data.alerts.map(({ labels }) => labels.alertname).filter((name) => !ofMachine.includes(name));
  };
  await expect.poll(pending, { message: 'an alert stays pending on healthy services', timeout: 60_000 }).toEqual([]);
}

/** Every metric that an expression names exists; without this a misspelled one in an `or` or an alert would never be seen. */
function assertKnown(expression: string, names: ReadonlySet<string>, where: string): void {
  const bare = expression.replaceAll(
    /\{[^}]*\}|\[[^\]]*\]|"[^"]*"|\b(by|on|and on|unless on|without)\s*\([^)]*\)/g,
    ' ',
  );
  const words = bare.match(/[a-z_][a-z0-9_:]*(?!\s*\()\b/gi) ?? [];
  for (const word of words.filter(
    (w) =>
      !/^(and|or|bool|group_left|sum|max|min|count|abs|vector|rate|increase|changes|absent|unless|clamp_min|histogram_quantile)$/.test(
        w,
      ),
  )) {
    assert.ok(names.has(word) || word === 'up', `${where} names a metric that /metrics does not have: ${word}`);
  }
}

/** Number of series that the answer has. */
async function query(prometheus: string, expression: string): Promise<number> {
  const answer = (await ask(prometheus, `/api/v1/query?query=${encodeURIComponent(expression)}`)) as {
    status: string;
    error?: string;
    data: { result: unknown[] };
  };
  assert.equal(answer.status, 'success', `${answer.error}: ${expression}`);
  return answer.data.result.length;
}

async function ask(prometheus: string, path: string): Promise<unknown> {
  return (await fetch(prometheus + path)).json();
}

/** The configuration of the local stack, with another target and a second instead of fifteen. */
async function startPrometheus(t: TestScope, port: number, targets: readonly string[]): Promise<string> {
  await ensureCommand('prometheus', 'prometheus');
  const { folder: home, remove } = temporaryFolder('ringmain-prometheus-');
  for (const file of ['rules.yml', 'alerts.yml']) {
    writeFileSync(join(home, file), readFileSync(join(folder, file), 'utf8').replace('interval: 15s', 'interval: 1s'));
  }
  cpSync(join(deployFolder, 'local', 'prometheus.yml'), join(home, 'prometheus.yml'));
  const config = readFileSync(join(home, 'prometheus.yml'), 'utf8');
  writeFileSync(
    join(home, 'prometheus.yml'),
    config.replaceAll('15s', '1s').replace("'ringmain:19890'", targets.map((target) => `'${target}'`).join(', ')),
  );
  const flags = [
    '--config.file=prometheus.yml',
    `--web.listen-address=127.0.0.1:${port}`,
    '--storage.tsdb.path=data',
    '--log.level=warn',
  ];
  const server = new ServerProcess('prometheus', flags, { cwd: home }, home);
  t.onTestFinished(async () => {
    await server.end('SIGTERM');
    remove();
  });
  const url = `http://127.0.0.1:${port}`;
  await server.until(
    () =>
      fetch(`${url}/-/ready`).then(
        (r) => r.ok,
        () => false,
      ),
    30_000,
  );
  return url;
}
