import React from 'react';
import { type FleetNow } from '../api';
import { count } from '../format';
import { AgentText } from '../text/Text';
import { EntityLink } from './EntityLink';
import { PlainTable } from './Section';

/** The agents whose volume changed most against the time before. */
export function Movers({ movers }: { movers: FleetNow['movers'] }) {
  if (movers.length === 0) {
    return <p>No agent was active in this time.</p>;
  }
  return (
    <PlainTable head={['Agent', 'Cohort', 'Now', 'Before', 'Change', 'Alerts']} label="Top movers">
      {movers.map((m) => (
        <tr key={m.agent_id}>
          <td>
            <EntityLink kind="agent" id={m.agent_id} />
          </td>
          <td>
            <AgentText value={m.cohort} max={30} />
          </td>
          <td>{count(m.now)}</td>
          <td>{count(m.before)}</td>
          <td>
            {m.before > 0 ? `${m.now >= m.before ? '+' : '−'}${count(Math.abs(m.now / m.before - 1) * 100)} %` : 'new'}
          </td>
          <td>{m.alerts || ''}</td>
        </tr>
      ))}
    </PlainTable>
  );
}
