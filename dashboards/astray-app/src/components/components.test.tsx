import React from 'react';
import { render, screen } from '@testing-library/react';
import { FieldType, toDataFrame } from '@grafana/data';
import { rowsOf } from '../astray-alerts-panel/AlertsPanel';
import { AgentText } from '../text/Text';
import { SeverityMark } from './Severity';
import { Sparkline } from './Sparkline';
import { techniqueUrl } from './TechniqueLink';

describe('AgentText', () => {
  it('makes no elements of markup and no links of addresses', () => {
    const { container } = render(
      <AgentText value={'<img src=x onerror=alert(1)> https://evil.example [a](javascript:b)'} />
    );
    expect(container.querySelector('img,a,script')).toBeNull();
    expect(container).toHaveTextContent('<img src=x onerror=alert(1)> https://evil.example [a](javascript:b)');
  });

  it('shows what turns text around as an escape', () => {
    render(<AgentText value={'\u202eexe'} />);
    expect(screen.getByText('\\u{202e}')).toBeInTheDocument();
  });
});

describe('SeverityMark', () => {
  it('tells each severity by a shape of its own', () => {
    const shapes = (['critical', 'high', 'medium', 'low'] as const).map(
      (s) => render(<SeverityMark severity={s} />).container.querySelector('svg')?.innerHTML
    );
    expect(new Set(shapes).size).toBe(4);
    expect(screen.getByRole('img', { name: 'severity critical' })).toBeInTheDocument();
  });
});

describe('Sparkline', () => {
  it('marks the windows outside the band and says them', () => {
    const { container } = render(
      <Sparkline data={{ values: [5, 6, 90], expected: 5, lower: 2, upper: 10, window_seconds: 600 }} />
    );
    expect(container.querySelectorAll('circle')).toHaveLength(1);
    expect(screen.getByRole('img')).toHaveAccessibleName(/expected 5 \(2 to 10\), at most 90/);
  });
});

describe('techniqueUrl', () => {
  it('links ids of the known forms alone', () => {
    expect(techniqueUrl('T1021.007')).toBe('https://attack.mitre.org/techniques/T1021/007/');
    expect(techniqueUrl('AML.T0036')).toBe('https://atlas.mitre.org/techniques/AML.T0036');
    for (const id of ['javascript:alert(1)', 'T1021/../../x', 'https://evil.example', 'T1', 'AML.T0036?x']) {
      expect(techniqueUrl(id)).toBeUndefined();
    }
  });
});

describe('rowsOf', () => {
  it('reads a frame by the names of its columns and ignores other frames', () => {
    const frame = toDataFrame({
      fields: [
        { name: 'title', type: FieldType.string, values: ['t'] },
        { name: 'id', type: FieldType.string, values: ['1'] },
        { name: 'severity', type: FieldType.string, values: ['high'] },
        { name: 'last_seen', type: FieldType.time, values: [0] },
      ],
    });
    expect(rowsOf([frame, toDataFrame({ fields: [] })])).toEqual([
      expect.objectContaining({ id: '1', title: 't', severity: 'high', time: '1970-01-01T00:00:00.000Z' }),
    ]);
  });
});
