import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { files } from './files';

for (const [name, content] of Object.entries(files())) {
  const path = join('..', 'provisioning', name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}
