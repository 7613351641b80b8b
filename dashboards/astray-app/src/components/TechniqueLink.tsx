import React from 'react';
import { TextLink } from '@grafana/ui';
import { type Technique } from '../api';
import { safe } from '../text/escape';

/** Where a catalogue describes a technique. Only ids of the known forms become links. */
export function techniqueUrl(id: string): string | undefined {
  if (/^T\d{4}(\.\d{3})?$/.test(id)) {
    return `https://attack.mitre.org/techniques/${id.replace('.', '/')}/`;
  }
  if (/^AML\.T\d{4}(\.\d{3})?$/.test(id)) {
    return `https://atlas.mitre.org/techniques/${id}`;
  }
  if (/^ASI\d{2}$/.test(id)) {
    return 'https://genai.owasp.org/initiatives/agentic-security-initiative/';
  }
  if (/^NHI\d{1,2}$/.test(id)) {
    return 'https://owasp.org/www-project-non-human-identities-top-10/';
  }
  return undefined;
}

export function TechniqueLink({ technique }: { technique: Technique }) {
  const text = `${safe(technique.id, 20)} ${safe(technique.name, 80)}`;
  const url = techniqueUrl(technique.id);
  return url ? (
    <TextLink href={url} external inline={false} variant="bodySmall">
      {text}
    </TextLink>
  ) : (
    <span>{text}</span>
  );
}
