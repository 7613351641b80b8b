export type Severity = 'low' | 'medium' | 'high' | 'critical';

export const SEVERITIES: Severity[] = ['critical', 'high', 'medium', 'low'];
export const RANK: Record<Severity, number> = { critical: 3, high: 2, medium: 1, low: 0 };
