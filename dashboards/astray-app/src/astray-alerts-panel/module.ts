import { PanelPlugin } from '@grafana/data';
import { AlertsPanel, type AlertsPanelOptions } from './AlertsPanel';

export const plugin = new PanelPlugin<AlertsPanelOptions>(AlertsPanel).setPanelOptions((builder) =>
  builder
    .addBooleanSwitch({ path: 'showDetector', name: 'Show the detector', defaultValue: true })
    .addBooleanSwitch({ path: 'showEntity', name: 'Show the entity', defaultValue: true })
    .addBooleanSwitch({ path: 'dense', name: 'Dense', defaultValue: false })
);
