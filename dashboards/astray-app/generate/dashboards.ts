import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import * as stat from '@grafana/grafana-foundation-sdk/stat';
import * as table from '@grafana/grafana-foundation-sdk/table';
import * as nodegraph from '@grafana/grafana-foundation-sdk/nodegraph';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';
import * as bargauge from '@grafana/grafana-foundation-sdk/bargauge';
import { type cog as Cog } from './cog';
import { type AstrayQuery } from '../src/astray-datasource/types';

const datasource = { type: 'astray-datasource', uid: '${datasource}' };

/** A question to the datasource, in the form in which the SDK takes it. */
class Question implements Cog.Builder<Cog.Dataquery> {
  constructor(private readonly query: Partial<AstrayQuery>) {}

  build(): Cog.Dataquery {
    const built = { refId: 'A', datasource, ...this.query };
    // The marker by which the SDK tells queries from other objects; hidden, so that it is not written out.
    Object.defineProperty(built, '_implementsDataqueryVariant', { value: () => undefined, enumerable: false });
    return built as unknown as Cog.Dataquery;
  }
}

const ask = (query: Partial<AstrayQuery>) => new Question(query);

function board(
  uid: string,
  title: string,
  description: string,
  refresh: string,
  from: string,
  marked: Partial<AstrayQuery> = {}
) {
  return new dashboard.DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(['astray'])
    .timezone('utc')
    .refresh(refresh)
    .time({ from, to: 'now' })
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .editable()
    .withVariable(new dashboard.DatasourceVariableBuilder('datasource').label('Data source').type('astray-datasource'))
    .annotation(
      new dashboard.AnnotationQueryBuilder()
        .name('Alerts')
        .datasource(datasource)
        .enable(true)
        .iconColor('orange')
        .target(ask({ refId: 'Anno', queryType: 'alerts', severity: ['critical', 'high'], limit: 200, ...marked }))
    )
    .link(
      new dashboard.DashboardLinkBuilder('Triage')
        .type(dashboard.DashboardLinkType.Link)
        .url('/a/astray-app/triage')
        .icon('external link')
        .tooltip('The queue')
    )
    .link(
      new dashboard.DashboardLinkBuilder('Astray')
        .type(dashboard.DashboardLinkType.Dashboards)
        .tags(['astray'])
        .asDropdown(true)
        .keepTime(true)
        .includeVars(true)
    );
}

const list = (name: string, label: string, of: string) =>
  new dashboard.QueryVariableBuilder(name)
    .label(label)
    .datasource(datasource)
    .query({ refId: 'variable', of })
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboard.VariableSort.AlphabeticalAsc);

const several = (name: string, label: string, of: string) => list(name, label, of).multi(true).includeAll(true);
const agent = () => list('agent', 'Agent', 'agents').allowCustomValue(true);

const steps = (...values: Array<[number | null, string]>) =>
  new dashboard.ThresholdsConfigBuilder()
    .mode(dashboard.ThresholdsMode.Absolute)
    .steps(values.map(([value, color]) => ({ value, color })));

const place = (x: number, y: number, w: number, h: number) => ({ x, y, w, h });

const number = (title: string, query: Partial<AstrayQuery>, unit: string, description: string) =>
  new stat.PanelBuilder()
    .title(title)
    .description(description)
    .datasource(datasource)
    .unit(unit)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .graphMode(common.BigValueGraphMode.None)
    .colorMode(common.BigValueColorMode.Value)
    .withTarget(ask(query));

const health = (title: string, metric: string, unit: string, description: string) =>
  number(title, { queryType: 'health', metric }, unit, description);

/** No number of events is bad in itself. */
const rate = () =>
  health('Events per second', 'events_per_second', 'eps', 'Stored during the last minute').thresholds(
    steps([null, 'blue'])
  );

// A panel of the app has no builder in the SDK: the table's is used and its type replaced.
const alertList = (title: string, query: Partial<AstrayQuery>) => {
  const panel = new dashboard.PanelBuilder()
    .type('astray-alerts-panel')
    .title(title)
    .datasource(datasource)
    .withTarget(ask({ queryType: 'alerts', format: 'table', limit: 500, ...query }));
  return panel;
};

const tableOf = (title: string, query: Partial<AstrayQuery>, description = '') => {
  const panel = new table.PanelBuilder()
    .title(title)
    .description(description)
    .datasource(datasource)
    .withTarget(ask(query));
  // All columns fit, but for those of events, which are too many to be read then.
  return query.queryType === 'events' ? panel : panel.minWidth(60);
};

/** What was observed over the band of what was expected. */
const band = (title: string, query: Partial<AstrayQuery>, description: string) =>
  new timeseries.PanelBuilder()
    .title(title)
    .description(description)
    .datasource(datasource)
    .min(0)
    .lineWidth(1)
    .fillOpacity(0)
    .showPoints(common.VisibilityMode.Never)
    .legend(
      new common.VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
    )
    .withTarget(ask(query))
    .overrideByName('lower', [
      { id: 'custom.lineWidth', value: 0 },
      { id: 'custom.hideFrom', value: { legend: true, tooltip: false, viz: false } },
    ])
    .overrideByName('upper', [
      { id: 'custom.lineWidth', value: 0 },
      { id: 'custom.fillBelowTo', value: 'lower' },
      { id: 'custom.fillOpacity', value: 18 },
      { id: 'color', value: { mode: 'fixed', fixedColor: 'blue' } },
      { id: 'displayName', value: '95 % of what its past predicts' },
    ])
    .overrideByName('expected', [
      { id: 'custom.lineStyle', value: { fill: 'dash', dash: [6, 6] } },
      { id: 'color', value: { mode: 'fixed', fixedColor: 'blue' } },
    ])
    .overrideByName('observed', [
      { id: 'custom.lineWidth', value: 2 },
      { id: 'custom.lineInterpolation', value: 'stepAfter' },
      { id: 'color', value: { mode: 'fixed', fixedColor: 'orange' } },
    ]);

const graph = (title: string, query: Partial<AstrayQuery>) =>
  new nodegraph.PanelBuilder()
    .title(title)
    .datasource(datasource)
    .withTarget(ask({ queryType: 'graph', ...query }));

function overview() {
  const filters = { severity: ['$severity'], detector: ['$detector'], cohort: ['$cohort'] };
  return board('astray-overview', 'Astray / Overview', 'What the fleet does and what was flagged.', '1m', 'now-24h')
    .withVariable(several('severity', 'Severity', 'severities'))
    .withVariable(several('detector', 'Detector', 'detectors'))
    .withVariable(several('cohort', 'Cohort', 'cohorts'))
    .withPanel(rate().gridPos(place(0, 0, 5, 4)))
    .withPanel(
      health('Newest event', 'freshness_seconds', 's', 'How long ago the newest event was stored')
        .thresholds(steps([null, 'green'], [60, 'yellow'], [300, 'red']))
        .gridPos(place(5, 0, 5, 4))
    )
    .withPanel(
      number(
        'Not closed, by severity',
        { queryType: 'alerts', format: 'count', state: ['open', 'acknowledged'], ...filters },
        'short',
        'Alerts that wait for a verdict'
      ).gridPos(place(10, 0, 14, 4))
    )
    .withPanel(
      alertList('Alerts', { state: ['open', 'acknowledged'], stream: true, ...filters }).gridPos(place(0, 4, 14, 16))
    )
    .withPanel(
      new bargauge.PanelBuilder()
        .title('Most alerts')
        .datasource(datasource)
        .orientation(common.VizOrientation.Horizontal)
        .reduceOptions(new common.ReduceDataOptionsBuilder().values(true).limit(15))
        .min(0)
        .withTransformation({
          id: 'filterFieldsByName',
          options: { include: { names: ['entity_id', 'alerts'] } },
        })
        .withTarget(ask({ queryType: 'entities', by: 'alerts', limit: 15, ...filters }))
        .gridPos(place(14, 4, 10, 8))
    )
    .withPanel(
      tableOf('Most active', { queryType: 'entities', by: 'volume', limit: 15, cohort: ['$cohort'] })
        .withTransformation({
          id: 'filterFieldsByName',
          options: { include: { names: ['entity_id', 'cohort', 'events', 'alerts'] } },
        })
        .gridPos(place(14, 12, 10, 8))
    );
}

function agentBoard() {
  return board('astray-agent', 'Astray / Agent', 'One agent against its own past.', '', 'now-7d', { agent: '$agent' })
    .withVariable(agent())
    .withPanel(
      band(
        'Activity',
        { queryType: 'rate', agent: '$agent' },
        'How often it acts, and how often its past expects'
      ).gridPos(place(0, 0, 12, 9))
    )
    .withPanel(
      band(
        'Distinct objects',
        { queryType: 'distinct', agent: '$agent' },
        'How many different objects it touches'
      ).gridPos(place(12, 0, 12, 9))
    )
    .withPanel(alertList('Its alerts', { agent: '$agent' }).gridPos(place(0, 9, 12, 13)))
    .withPanel(graph('Whom and what it touches', { agent: '$agent' }).gridPos(place(12, 9, 12, 13)))
    .withPanel(
      tableOf('What it read, wrote and reached', { queryType: 'blast', agent: '$agent' }).gridPos(place(0, 22, 24, 7))
    )
    .withPanel(tableOf('Events', { queryType: 'events', agent: '$agent', limit: 500 }).gridPos(place(0, 29, 24, 10)));
}

function investigation() {
  return board(
    'astray-investigation',
    'Astray / Investigation',
    'Events by whatever is known: a key, a source, an object.',
    '',
    'now-24h'
  )
    .withVariable(agent().allowCustomValue(true).multi(false).includeAll(true).allValue(''))
    .withVariable(new dashboard.TextBoxVariableBuilder('credential').label('Credential').defaultValue(''))
    .withVariable(new dashboard.AdHocVariableBuilder('filter').label('Where').datasource(datasource))
    .withPanel(
      tableOf(
        'Events',
        { queryType: 'events', agent: '$agent', limit: 1000 },
        'Newest first; add conditions with Where'
      ).gridPos(place(0, 0, 24, 12))
    )
    .withPanel(
      graph('Who used the credential', { kind: 'credential', id: '$credential' })
        .noValue('Name a credential above')
        .gridPos(place(0, 12, 12, 13))
    )
    .withPanel(
      tableOf('What the credential reached', { queryType: 'blast', kind: 'credential', id: '$credential' })
        .withTransformation({
          id: 'filterFieldsByName',
          options: {
            include: { names: ['service', 'access', 'events', 'resources', 'destinations', 'sent', 'received'] },
          },
        })
        .noValue('Name a credential above')
        .gridPos(place(12, 12, 12, 13))
    )
    .withPanel(alertList('Alerts of this time', {}).gridPos(place(0, 25, 24, 10)));
}

function pipelineHealth() {
  const row = (panel: stat.PanelBuilder, i: number) => panel.gridPos(place(i * 5, 0, i < 4 ? 5 : 4, 5));
  return [
    health('Newest event', 'freshness_seconds', 's', 'How long ago the newest event was stored').thresholds(
      steps([null, 'green'], [60, 'yellow'], [300, 'red'])
    ),
    health('Lag', 'lag_seconds', 's', 'From an event to its row').thresholds(
      steps([null, 'green'], [10, 'yellow'], [60, 'red'])
    ),
    rate(),
    health(
      'Dead letters',
      'dead_letters',
      'short',
      'Messages that are no events; the reason is stored beside each'
    ).thresholds(steps([null, 'green'], [1, 'yellow'])),
    health('Late events', 'late', 'short', 'Stored and marked, too late to be counted where they belong').thresholds(
      steps([null, 'green'], [1, 'yellow'])
    ),
  ]
    .reduce(
      (b, panel, i) => b.withPanel(row(panel, i)),
      board(
        'astray-pipeline-health',
        'Astray / Pipeline health',
        'Whether events arrive, in time and whole.',
        '30s',
        'now-1h'
      )
    )
    .withPanel(tableOf('All of it', { queryType: 'health' }).gridPos(place(0, 5, 24, 4)));
}

/** The dashboards by the name of their file. */
export function dashboards(): Record<string, dashboard.Dashboard> {
  const built: Record<string, dashboard.Dashboard> = {
    overview: overview().build(),
    agent: agentBoard().build(),
    investigation: investigation().build(),
    'pipeline-health': pipelineHealth().build(),
  };
  Object.values(built).forEach((d) => {
    (d.panels ?? []).forEach((panel, i) => (panel.id = i + 1));
  });
  return built;
}
