import type * as variants from '@grafana/grafana-foundation-sdk/cog';

export type { variants as cog };
