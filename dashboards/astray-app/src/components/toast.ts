import { AppEvents } from '@grafana/data';
import { getAppEvents } from '@grafana/runtime';

/** Says that something was done, or that it was not. */
export function toast(kind: 'success' | 'error' | 'warning', message: string) {
  const type = { success: AppEvents.alertSuccess, error: AppEvents.alertError, warning: AppEvents.alertWarning }[kind];
  getAppEvents().publish({ type: type.name, payload: [message] });
}
